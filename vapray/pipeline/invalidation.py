"""Reasons to run a stage again: differences between its last finished version and the current config and inputs."""

from collections.abc import Iterator, Mapping
from typing import Any

from vapray.store.version import Manifest

__all__ = ["invalidation_reasons"]


def invalidation_reasons(last: Manifest | None, sections: Mapping[str, Any], inputs: Mapping[str, str]) -> list[str]:
    """List one line per field that differs; empty if the stage was never finished."""
    if last is None:
        return []
    changes = [*_difference("", last.sections, dict(sections)), *_difference("input ", last.inputs, dict(inputs))]
    return changes or ["output format of the stage (another version of vapray)"]


def _difference(path: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            dot = "." if path and not path.endswith(" ") else ""
            yield from _difference(f"{path}{dot}{key}", old.get(key), new.get(key))
    elif old != new:
        yield f"{path}: {old} -> {new}"
