"""How sure a number is: half-sampling for distances of sets, the bootstrap for means over images, t over repetitions.

A bootstrap sample repeats images. A repeated image narrows a fitted Gaussian and sits at distance 0 from
itself, so bootstrapped distances are biased upward; a half-sample repeats none.
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
    """Where the number would lie if the images were drawn again."""

    low: float
    high: float
    level: float = 0.95
    method: str = ""


def half_sampling_interval(
    statistic: Statistic, sets: Sequence[Rows], *, draws: int = 100, level: float = 0.95, seed: int = 0
) -> Interval:
    """The interval of ``statistic(*sets)`` from random halves of every set, drawn without repetition.

    A half's spread around the whole equals the whole's spread around the truth, for statistics that are
    smooth in the empirical distribution. FID is larger on halves; therefore the halves' own mean is
    taken away and the spread is put around the value of the whole.

    Args:
        statistic: takes as many arrays as there are sets.
        sets: arrays whose first axis is the images.
        draws: halves drawn; each costs one statistic.
        level: probability inside.
        seed: of the halves.

    Raises:
        DataError: a set of fewer than two images.

    Source: Politis, Romano, Large sample confidence regions based on subsamples (1994).
    """
    chosen = random_halves([len(rows) for rows in sets], draws, seed)
    halves = [statistic(*(rows[half] for rows, half in zip(sets, one, strict=True))) for one in chosen]
    return half_sampling_around(statistic(*sets), halves, level)


def random_halves(counts: Sequence[int], draws: int, seed: int) -> list[list[NDArray[np.int64]]]:
    """For every draw a random half of the rows of every set; ``counts`` are the sets' sizes.

    Raises:
        DataError: a set of fewer than two images.
    """
    _refuse_too_few(counts)
    rng = np.random.default_rng(seed)
    return [[rng.permutation(n)[: max(2, n // 2)] for n in counts] for _ in range(draws)]


def half_sampling_around(whole: float, halves: Sequence[float] | NDArray[np.float64], level: float = 0.95) -> Interval:
    """See :func:`half_sampling_interval`, where the statistic of the whole and of its halves is known."""
    values = np.asarray(halves)
    low, high = np.quantile(values - values.mean(), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(whole + low), float(whole + high), level, "half-sampling")


def _refuse_too_few(counts: Sequence[int]) -> None:
    if not counts or min(counts) < 2:
        raise DataError(f"an interval needs at least 2 images per set, got {list(counts)}")


def bootstrap_interval(
    statistic: Statistic, sets: Sequence[Rows], *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval | None:
    """The percentile interval over images drawn with repetition; for means and ratios of means.

    Returns:
        None if the statistic is not finite on some draw: then the images cannot bound it.

    Raises:
        DataError: a set of fewer than two images.
    """
    _refuse_too_few([len(rows) for rows in sets])
    rng = np.random.default_rng(seed)
    values = np.array(
        [statistic(*(rows[rng.integers(0, len(rows), len(rows))] for rows in sets)) for _ in range(draws)]
    )
    if not np.isfinite(values).all():
        return None
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level, "bootstrap over images")


def t_interval(values: Sequence[float], *, level: float = 0.95) -> Interval | None:
    """The interval of a mean over independent repetitions, such as seeds; takes them for normal.

    Returns:
        None for fewer than two: one repetition does not tell how far another would fall.

    Source: Student, The probable error of a mean (1908).
    """
    if len(values) < 2:
        return None
    reach = stats.t.ppf((1 + level) / 2, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    mean = float(np.mean(values))
    return Interval(mean - float(reach), mean + float(reach), level, "Student's t over repetitions")
