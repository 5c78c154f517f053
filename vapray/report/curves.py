"""Geometry of line charts, which the template draws in the colours of the page."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vapray.report.number_format import number

__all__ = ["Curve", "LineChart", "line_chart"]

WIDTH, HEIGHT = 360, 200
LEFT, RIGHT, TOP, BOTTOM = 46, 352, 10, 160
MAX_POINTS = 120
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Quantity over training steps; drawn as a smoothed line over the range of the raw values."""

    name: str
    meaning: str
    """Explanation under the chart, in one sentence."""
    steps: Sequence[float]
    values: Sequence[float]
    """Values, as many as ``steps``; non-finite values are not drawn."""
    scale: tuple[float, float] | None = None
    """Minimum range of the axis for a bounded quantity; None: the range of the values."""


@dataclass(frozen=True)
class LineChart:
    """Line chart as pixel paths inside ``WIDTH`` x ``HEIGHT``."""

    name: str
    meaning: str
    line: str
    band: str
    last: tuple[float, float]
    last_text: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    logarithmic: bool
    summary: str
    """Text alternative of the chart, for screen readers."""


def line_chart(curve: Curve) -> LineChart | None:
    """Lay out a curve; None with fewer than two finite values. Logarithmic above a factor of 20."""
    steps, values = np.asarray(curve.steps, np.float64), np.asarray(curve.values, np.float64)
    finite = np.isfinite(values) & np.isfinite(steps)
    steps, values = steps[finite], values[finite]
    if len(values) < 2 or steps[0] == steps[-1]:
        return None
    at, mean, least, greatest = _binned(steps, values)
    logarithmic = bool(curve.scale is None and values.min() > 0 and mean.max() / mean.min() > 20)
    low, high = _range(values, logarithmic) if curve.scale is None else _around(values, *curve.scale)
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
        (round(float(x(at)[-1]), 1), round(float(y(mean)[-1]), 1)),
        number(mean[-1]),
        _placed(x, _ticks(first, last + 0.01 * (last - first))),
        _placed(y, y_ticks),
        logarithmic,
        f"{curve.name} over {number(int(steps[-1]))} steps: from {number(mean[0])} to {number(mean[-1])}.",
    )


def _range(values: Values, logarithmic: bool) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if logarithmic:
        return low, high
    margin = 0.05 * (high - low) or abs(high) * 0.05 or 1.0
    return (low - margin if low < 0 else max(0.0, low - margin)), high + margin


def _around(values: Values, low: float, high: float) -> tuple[float, float]:
    return min(low, float(values.min())), max(high, float(values.max()))


def _binned(steps: Values, values: Values) -> list[Values]:
    """Mean step, mean, minimum and maximum value of at most ``MAX_POINTS`` bins of consecutive points."""
    runs = np.array_split(np.arange(len(steps)), min(MAX_POINTS, len(steps)))
    columns = [(steps[r].mean(), values[r].mean(), values[r].min(), values[r].max()) for r in runs]
    return list(np.array(columns).T)


def _path(x: Values, y: Values) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


def _ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Evenly spaced round numbers inside [low, high]."""
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [f * 10.0**e for e in exponents for f in factors if low <= f * 10.0**e <= high]
        if len(ticks) <= most:
            return ticks
    return ticks[:: math.ceil(len(ticks) / most)]


def _placed(axis: Callable[[Values], Values], ticks: Sequence[float]) -> tuple[tuple[float, str], ...]:
    places = np.round(axis(np.asarray(ticks)), 1).tolist()
    return tuple((place, _tick_word(tick)) for place, tick in zip(places, ticks, strict=True))


def _tick_word(tick: float) -> str:
    """Format a tick, without the digits that only measured numbers need."""
    return number(int(tick)) if tick == int(tick) else f"{tick:.4g}"


def _axis(low: float, high: float, start: float, end: float, logarithmic: bool) -> Callable[[Values], Values]:
    """Build the map from values to pixels."""

    def place(values: Values) -> Values:
        share = np.log(values / low) / np.log(high / low) if logarithmic else (values - low) / (high - low)
        return np.asarray(start + share * (end - start), np.float64)

    return place
