"""Settings by their dotted keys, as people write them: ``train.steps``."""

from collections.abc import Iterator
from typing import Any

__all__ = ["leaves", "value_at"]


def value_at(tree: Any, key: str) -> Any:
    """What stands in a tree of settings at a dotted key: a value or a section."""
    for name in key.split("."):
        tree = tree[name]
    return tree


def leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every value below a dotted key, with the dotted key of its own; an empty section is a value."""
    if not isinstance(value, dict) or not value:
        yield key, value
        return
    for name, item in value.items():
        yield from leaves(f"{key}.{name}", item)
