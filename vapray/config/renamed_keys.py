"""Renamed configuration keys; an old key works until version 0.3 and logs its new name."""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vapray.errors import ConfigError

__all__ = ["SERVICE_KEYS", "apply_renamed_keys"]

SERVICE_KEYS = {
    "keys": "api_keys_file",
    "state": "state_dir",
    "docs": "openapi",
    "limits.body_seconds": "limits.body_timeout_s",
    "models.*.max_waiting": "models.*.max_queued_requests",
}
"""Old and new keys of the service's ``args``."""

Path = tuple[str, ...]


def apply_renamed_keys(
    tree: dict[str, Any], renamed: Mapping[str, str], *, source: str, warn: Callable[[str], None]
) -> dict[str, Any]:
    """Replace old keys by their new names.

    Args:
        tree: Nested mappings and lists, as parsed from YAML.
        renamed: Old to new dotted key; ``*`` stands for every key of a mapping or every item of a list.
        source: File or section that the tree was read from, for messages.
        warn: Receives one message for each old key in use.

    Returns:
        A copy of the tree with new names only.

    Raises:
        ConfigError: An old key and its new name are both set.
    """
    result = copy.deepcopy(tree)
    for old, new in renamed.items():
        paths = [*_matches(result, tuple(old.split(".")))]
        for path in paths:
            _move(result, path, _fill(new, path, old), source)
        if paths:
            warn(f"{source}: {old} was renamed to {new}. The old name works until version 0.3.")
    return result


def _matches(node: Any, pattern: Path) -> Iterator[Path]:
    """Yield the paths below a node that fit a pattern."""
    if not pattern:
        yield ()
        return
    names = list(_names(node)) if pattern[0] == "*" else [pattern[0]]
    for name in names:
        if name in _names(node):
            yield from ((name, *rest) for rest in _matches(_child(node, name), pattern[1:]))


def _names(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [name for name in node if isinstance(name, str)]
    return [str(index) for index in range(len(node))] if isinstance(node, list | tuple) else []


def _child(node: Any, name: str) -> Any:
    return node[name] if isinstance(node, dict) else node[int(name)]


def _fill(new: str, path: Path, old: str) -> Path:
    """Put the names that ``*`` matched in the old key into the new one."""
    matched = (name for name, part in zip(path, old.split("."), strict=True) if part == "*")
    return tuple(next(matched) if part == "*" else part for part in new.split("."))


def _move(tree: dict[str, Any], old: Path, new: Path, source: str) -> None:
    if any(True for _ in _matches(tree, new)):
        raise ConfigError(
            f"{source}: {'.'.join(old)} and {'.'.join(new)} are both set; they name the same setting. "
            f"Fix: remove {'.'.join(old)}."
        )
    parent: Any = tree
    for name in old[:-1]:
        parent = _child(parent, name)
    value = parent.pop(old[-1])
    parent = tree
    for name in new[:-1]:
        parent = parent.setdefault(name, {}) if isinstance(parent, dict) else _child(parent, name)
    parent[new[-1]] = value
