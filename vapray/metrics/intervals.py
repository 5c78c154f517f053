"""Confidence intervals: half-sampling for set distances, bootstrap for means over images, Student's t over repetitions.

A bootstrap sample repeats images. A repeated image narrows a fitted Gaussian and has distance 0 to itself, so
bootstrapped distances are biased upward; a half-sample repeats none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from vapray.errors import DataError

Rows = NDArray[Any]
Statistic = Callable[..., float]


@dataclass(frozen=True)
class Interval:
    """Confidence interval of a number, with its level and method."""

    low: float
    high: float
    level: float = 0.95
    method: str = ""


def half_sampling_interval(
    statistic: Statistic, sets: Sequence[Rows], *, draws: int = 100, level: float = 0.95, seed: int = 0
) -> Interval:
    """Compute the interval of ``statistic(*sets)`` from random halves of every set, drawn without repetition.

    The spread of halves around the full sets equals the spread of the full sets around the truth, for statistics that
    are smooth in the empirical distribution. FID is larger on halves; therefore the mean of the halves is subtracted,
    and the spread is centred on the value of the full sets.

    Args:
        statistic: Function of as many arrays as there are sets.
        sets: Arrays whose first axis is the images.
        draws: Number of half-samples; each costs one evaluation of the statistic.
        level: Confidence level.
        seed: Seed of the half-samples.

    Raises:
        DataError: a set has fewer than two images.

    Source: Politis, Romano, Large sample confidence regions based on subsamples (1994).
    """
    chosen = random_halves([len(rows) for rows in sets], draws, seed)
    halves = [statistic(*(rows[half] for rows, half in zip(sets, one, strict=True))) for one in chosen]
    return half_sampling_around(statistic(*sets), halves, level)


def random_halves(counts: Sequence[int], draws: int, seed: int) -> list[list[NDArray[np.int64]]]:
    """Draw a random half of the rows of every set, ``draws`` times; ``counts`` are the sizes of the sets.

    Raises:
        DataError: a set has fewer than two images.
    """
    _require_two_images(counts)
    rng = np.random.default_rng(seed)
    return [[rng.permutation(n)[: max(2, n // 2)] for n in counts] for _ in range(draws)]


def half_sampling_around(whole: float, halves: Sequence[float] | NDArray[np.float64], level: float = 0.95) -> Interval:
    """Compute :func:`half_sampling_interval` from the known statistics of the full sets and of the halves."""
    values = np.asarray(halves)
    low, high = np.quantile(values - values.mean(), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(whole + low), float(whole + high), level, "half-sampling")


def _require_two_images(counts: Sequence[int]) -> None:
    if not counts or min(counts) < 2:
        raise DataError(f"an interval needs at least 2 images per set, got {list(counts)}")


def bootstrap_interval(
    statistic: Statistic, sets: Sequence[Rows], *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval | None:
    """Compute the percentile bootstrap interval over images; for means and ratios of means.

    Returns:
        The interval, or None if the statistic is not finite on some draw.

    Raises:
        DataError: a set has fewer than two images.
    """
    _require_two_images([len(rows) for rows in sets])
    rng = np.random.default_rng(seed)
    values = np.array(
        [statistic(*(rows[rng.integers(0, len(rows), len(rows))] for rows in sets)) for _ in range(draws)]
    )
    if not np.isfinite(values).all():
        return None
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level, "bootstrap over images")


def t_interval(values: Sequence[float], *, level: float = 0.95) -> Interval | None:
    """Compute the t interval of a mean over independent repetitions, such as seeds; assumes normality.

    Returns:
        The interval, or None for fewer than two repetitions.

    Source: Student, The probable error of a mean (1908).
    """
    if len(values) < 2:
        return None
    reach = stats.t.ppf((1 + level) / 2, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    mean = float(np.mean(values))
    return Interval(mean - float(reach), mean + float(reach), level, "Student's t over repetitions")
