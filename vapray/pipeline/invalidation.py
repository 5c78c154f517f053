"""Reasons to run a stage again: differences between its last finished version and the current config and inputs."""

from collections.abc import Iterator, Mapping
from typing import Any

from vapray.pipeline.stages import STAGES
from vapray.store.version import Manifest

__all__ = ["invalidation_reasons"]

WRITERS = {stage.writes: f"{stage.writes} (written by {stage.name})" for stage in STAGES}


def invalidation_reasons(last: Manifest | None, sections: Mapping[str, Any], inputs: Mapping[str, str]) -> list[str]:
    """List one line per field that differs; empty if the stage was never finished."""
    if last is None:
        return []
    before, now = (
        {f"input {WRITERS.get(name, name)}": found[name] for name in found} for found in (last.inputs, inputs)
    )
    changes = [*_difference("", last.sections, dict(sections)), *_difference("", before, now)]
    return changes or ["output format of the stage (another version of vapray)"]


def _difference(path: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _difference(f"{path}.{key}" if path else key, old.get(key), new.get(key))
    elif old != new:
        yield f"{path}: {old} -> {new}"
