"""Access to settings by dotted keys, such as ``train.steps``."""

from collections.abc import Iterator
from typing import Any

__all__ = ["has_value", "leaves", "value_at"]


def value_at(tree: Any, key: str) -> Any:
    """Get the value or section at a dotted key of a settings tree."""
    for name in key.split("."):
        tree = tree[name]
    return tree


def has_value(tree: Any, key: str) -> bool:
    """Check that a settings tree has a value or section at a dotted key."""
    section, _, name = key.rpartition(".")
    return name in (value_at(tree, section) if section else tree)


def leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Iterate over every value below a dotted key, with its own dotted key; an empty section counts as a value."""
    if not isinstance(value, dict) or not value:
        yield key, value
        return
    for name, item in value.items():
        yield from leaves(f"{key}.{name}", item)
