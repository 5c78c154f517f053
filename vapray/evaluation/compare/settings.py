"""What decided the results of two runs, and where it differs."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from vapray.evaluation.compare.lineage import DATASET, FinishedRun, same_pictures

__all__ = ["Change", "changes"]

ABSENT = "(absent)"
DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{12,}\b")
"""Nobody reads a digest past its first digits."""


class Change(NamedTuple):
    """One key with two values, as text."""

    key: str
    first: str
    second: str


def changes(first: FinishedRun, second: FinishedRun) -> list[Change]:
    """Settings of all stages, then what was read from outside, then software; equal ones left out.

    A dataset that lies elsewhere and holds the same pictures is equal.
    """
    moved = {DATASET} if same_pictures(first, second) else set()
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
