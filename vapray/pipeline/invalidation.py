"""Reasons to run a stage again: differences between its last finished version and the current config and inputs."""

from collections.abc import Iterator, Mapping
from typing import Any

from vapray.config.dotted import leaves
from vapray.pipeline.stages import STAGES
from vapray.store.version import Manifest

__all__ = ["invalidation_reasons"]

WRITERS = {stage.writes: f"{stage.writes} (written by {stage.name})" for stage in STAGES}


def invalidation_reasons(last: Manifest | None, sections: Mapping[str, Any], inputs: Mapping[str, str]) -> list[str]:
    """List one line per field that differs; empty if the stage was never finished."""
    if last is None:
        return []
    settings = (dict(leaf for key in found for leaf in leaves(key, found[key])) for found in (last.sections, sections))
    named = ({f"input {WRITERS.get(name, name)}": found[name] for name in found} for found in (last.inputs, inputs))
    changes = [*_difference(*settings), *_difference(*named)]
    return changes or ["output format of the stage (another version of vapray)"]


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield f"{key}: {old.get(key)} -> {new.get(key)}"
