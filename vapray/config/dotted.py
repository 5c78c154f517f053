"""Access to settings by dotted keys, such as ``train.steps``."""

from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["leaves", "value_at", "values_at"]


def value_at(tree: Any, key: str) -> Any:
    """Get the value or section at a dotted key of a settings tree."""
    for name in key.split("."):
        tree = tree[name]
    return tree


def values_at(tree: Any, keys: Iterable[str]) -> dict[str, Any]:
    """Get the values or sections at dotted keys, by key.

    Settings that are not dumped at their default (``exclude_if``) are left out: fingerprints without them keep finished
    runs of earlier versions.
    """
    found = {}
    for key in keys:
        section, _, name = key.rpartition(".")
        parent = value_at(tree, section) if section else tree
        if name in parent:
            found[key] = parent[name]
    return found


def leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Iterate over every value below a dotted key, with its own dotted key; an empty section counts as a value."""
    if not isinstance(value, dict) or not value:
        yield key, value
        return
    for name, item in value.items():
        yield from leaves(f"{key}.{name}", item)
