"""The geometry of the page's charts; the template draws them with the page's own colours."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vapray.evaluation.intervals import Interval
from vapray.evaluation.report.content import Curve
from vapray.evaluation.report.wording import known, number, percent

WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 48, 352, 10, 160
MAX_POINTS = 120
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Mark:
    """One row of a ladder; positions in percent of the track."""

    name: str
    text: str
    kind: str
    """``made``, ``real`` or ``floor``: sets the colour."""
    position: float
    low: float
    high: float


@dataclass(frozen=True)
class Ladder:
    """Numbers of one kind on one track."""

    marks: tuple[Mark, ...]
    ticks: tuple[tuple[float, str], ...]
    logarithmic: bool
    intervals: bool
    """Whether a mark has one."""


Row = tuple[str, float, str, Interval | None]
"""Name, value, kind, interval."""


def _ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers at even distances inside [low, high]."""
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _tick_word(tick: float) -> str:
    """Without the digits that only measured numbers need."""
    return number(int(tick)) if tick == int(tick) else f"{tick:.4g}"


def _log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [f * 10.0**e for e in exponents for f in factors if low <= f * 10.0**e <= high]
        if len(ticks) <= most:
            return ticks
    return ticks[:: math.ceil(len(ticks) / most)]


def _ladder(rows: Sequence[Row], low: float, high: float, logarithmic: bool, word: Callable[[float], str]) -> Ladder:
    change = math.log10 if logarithmic else float
    start, span = change(low), change(high) - change(low)

    def place(value: float) -> float:
        return round(100 * (change(min(max(value, low), high)) - start) / span, 2)

    marks = []
    for name, value, kind, bounds in rows:
        ends = (bounds.low, bounds.high) if bounds else (value, value)
        marks.append(Mark(name, word(value), kind, place(value), place(ends[0]), place(ends[1])))
    ticks = _log_ticks(low, high) if logarithmic else _ticks(low, high, 5)
    tick_word = word if word is percent else _tick_word
    return Ladder(
        tuple(marks),
        tuple((place(tick), tick_word(tick)) for tick in ticks),
        logarithmic,
        any(row[3] for row in rows),
    )


def distance_ladder(rows: Sequence[Row]) -> Ladder | None:
    """Distances from 0, or on a logarithmic track if they span more than a factor of 8; None without two."""
    rows = [row for row in rows if known(row[1])]
    if len(rows) < 2:
        return None
    values = [row[1] for row in rows]
    top, least = max(values) or 1.0, min(values)
    if least > 0 and top / least > 8:
        return _ladder(rows, least / 1.6, top * 1.6, True, number)
    return _ladder(rows, 0.0, top * 1.08, False, number)


def share_ladder(rows: Sequence[Row]) -> Ladder:
    """Shares on a track from 0 to 1."""
    return _ladder([row for row in rows if known(row[1])], 0.0, 1.0, False, percent)


@dataclass(frozen=True)
class LineChart:
    """Pixel paths inside ``WIDTH`` x ``HEIGHT``."""

    name: str
    meaning: str
    line: str
    band: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    logarithmic: bool
    summary: str
    """For readers who cannot see the chart."""


def _binned(steps: Values, values: Values) -> list[Values]:
    """Mean step, mean, least and greatest value of at most ``MAX_POINTS`` runs of neighbours."""
    runs = np.array_split(np.arange(len(steps)), min(MAX_POINTS, len(steps)))
    columns = [(steps[r].mean(), values[r].mean(), values[r].min(), values[r].max()) for r in runs]
    return list(np.array(columns).T)


def _path(x: Values, y: Values) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


def line_chart(curve: Curve) -> LineChart | None:
    """Lay out ``curve``; None with fewer than two finite values. Logarithmic beyond a factor of 20."""
    steps, values = np.asarray(curve.steps, np.float64), np.asarray(curve.values, np.float64)
    finite = np.isfinite(values) & np.isfinite(steps)
    steps, values = steps[finite], values[finite]
    if len(values) < 2 or steps[0] == steps[-1]:
        return None
    at, mean, least, greatest = _binned(steps, values)
    logarithmic = bool(values.min() > 0 and mean.max() / mean.min() > 20)
    low, high = float(values.min()), float(values.max())
    if not logarithmic:
        margin = 0.05 * (high - low) or abs(high) * 0.05 or 1.0
        low, high = (low - margin if low < 0 else max(0.0, low - margin)), high + margin
    first, last = (0.0 if 0 < steps[0] < 0.05 * steps[-1] else steps[0]), steps[-1]
    x = _axis(first, last, LEFT, RIGHT, False)
    y = _axis(low, high, BOTTOM, TOP, logarithmic)
    y_ticks = _log_ticks(low, high, 5) if logarithmic else _ticks(low, high)
    band = _path(np.concatenate([x(at), x(at)[::-1]]), np.concatenate([y(greatest), y(least)[::-1]]))
    return LineChart(
        curve.name,
        curve.meaning,
        _path(x(at), y(mean)),
        band,
        _placed(x, _ticks(first, last + 0.01 * (last - first))),
        _placed(y, y_ticks),
        logarithmic,
        f"{curve.name} over {number(int(steps[-1]))} steps: from {number(mean[0])} to {number(mean[-1])}.",
    )


def _placed(axis: Callable[[Values], Values], ticks: Sequence[float]) -> tuple[tuple[float, str], ...]:
    places = np.round(axis(np.asarray(ticks)), 1).tolist()
    return tuple((place, _tick_word(tick)) for place, tick in zip(places, ticks, strict=True))


def _axis(low: float, high: float, start: float, end: float, logarithmic: bool) -> Callable[[Values], Values]:
    """Values to pixels."""

    def place(values: Values) -> Values:
        share = np.log(values / low) / np.log(high / low) if logarithmic else (values - low) / (high - low)
        return np.asarray(start + share * (end - start), np.float64)

    return place
