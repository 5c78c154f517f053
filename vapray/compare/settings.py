"""Differences between two runs in settings, external inputs and software."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from vapray.compare.lineage import DATASET, FinishedRun, same_images

__all__ = ["Change", "changes"]

ABSENT = "(absent)"
DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{12,}\b")
"""Long digests, which are shortened to their first digits."""


class Change(NamedTuple):
    """One differing key with both values, as text."""

    key: str
    first: str
    second: str


def changes(first: FinishedRun, second: FinishedRun) -> list[Change]:
    """List differing settings of all stages, then external inputs, then software.

    A dataset at another location with the same images counts as equal.
    """
    moved = {DATASET} if same_images(first, second) else set()
    outside = [{key: value for key, value in run.outside.items() if key not in moved} for run in (first, second)]
    software = [run.manifests["evaluate"].versions for run in (first, second)]
    return [
        *_differing(first.settings, second.settings),
        *_differing(outside[0], outside[1], "input "),
        *_differing(software[0], software[1], "software "),
    ]


def _differing(first: Mapping[str, Any], second: Mapping[str, Any], prefix: str = "") -> Iterator[Change]:
    for key in sorted(first.keys() | second.keys()):
        values = [run.get(key, ABSENT) for run in (first, second)]
        if values[0] != values[1]:
            yield Change(prefix + key, _shown(values[0]), _shown(values[1]))


def _shown(value: Any) -> str:
    return DIGEST.sub(r"\1...", str(value))
