"""Gauges: a number on a track between floors and real images. Right is better."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from vapray.metrics.intervals import Interval
from vapray.report.number_format import Number, is_measured

__all__ = ["Entry", "Gauge", "Mark", "gauge", "share_place"]

MARGIN = 5.0
"""Margin on either side of the track, in percent."""
LOGARITHMIC_FROM = 8.0
"""Ratio of the largest to the smallest positive value above which the track is logarithmic."""
Kind = Literal["floor", "real", "made", "other"]


class Entry(NamedTuple):
    """One number on a gauge."""

    name: str
    value: Number
    kind: Kind
    """Shape and colour: ``floor`` (any generator must beat it), ``real`` (real images), ``made``, ``other`` (runs)."""
    interval: Interval | None = None


@dataclass(frozen=True)
class Mark:
    """Number on a track; positions in percent of the track."""

    name: str
    text: str
    kind: Kind
    position: float
    low: float
    high: float
    """Ends of the interval; equal to ``position`` without an interval."""


@dataclass(frozen=True)
class Gauge:
    """Marks from worst to best."""

    marks: tuple[Mark, ...]
    logarithmic: bool
    summary: str
    """Text alternative of the gauge, for screen readers."""


def gauge(
    name: str, entries: Sequence[Entry], word: Callable[[float], str], *, lower_is_better: bool = False
) -> Gauge | None:
    """Lay out the measured numbers; None with fewer than two numbers, or if all are equal."""
    values = [entry.value for entry in entries if is_measured(entry.value)]
    if len(values) < 2 or min(values) == max(values):
        return None
    logarithmic = min(values) > 0 and max(values) / min(values) > LOGARITHMIC_FROM
    place = _scale(min(values), max(values), logarithmic, lower_is_better)
    marks = [_mark(entry, entry.value, place, word) for entry in entries if is_measured(entry.value)]
    marks.sort(key=lambda mark: mark.position)
    texts = ", ".join(f"{mark.name} {mark.text}" for mark in marks)
    return Gauge(tuple(marks), logarithmic, f"{name}, from worst to best: {texts}.")


def share_place(share: float) -> float:
    """Position of a share on a track, in percent; the middle for an unknown share."""
    return round(100 * min(max(share, 0.0), 1.0), 2) if is_measured(share) else 50.0


def _mark(entry: Entry, value: float, place: Callable[[float], float], word: Callable[[float], str]) -> Mark:
    interval = entry.interval
    ends = (interval.low, interval.high) if interval else (value, value)
    low, high = sorted(place(end) for end in ends)
    return Mark(entry.name, word(value), entry.kind, place(value), low, high)


def _scale(least: float, most: float, logarithmic: bool, reverse: bool) -> Callable[[float], float]:
    """Build the map from values to positions on the track, in percent."""
    change = math.log10 if logarithmic else float
    start, span = change(least), change(most) - change(least)

    def place(value: float) -> float:
        share = (change(max(value, least / 100) if logarithmic else value) - start) / span
        if reverse:
            share = 1 - share
        return round(min(max(MARGIN + (100 - 2 * MARGIN) * share, 0.0), 100.0), 2)

    return place
