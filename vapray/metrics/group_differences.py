"""Differences of one number between groups of images, with a correction for the number of tests.

Every group is compared with the other groups of its column: their mean, weighted by their numbers of images. Two
groups are compared once. A difference is resolved if Holm's correction over all comparisons leaves p below 0.05.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from vapray.metrics.intervals import Interval
from vapray.metrics.multiple_tests import holm

__all__ = [
    "LEVEL",
    "Difference",
    "Estimate",
    "Share",
    "balanced_mean",
    "compare_groups",
    "compare_shares",
    "correct",
    "student_interval",
]

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """Number of one group, with an approximately normal error.

    Attributes:
        value: The number.
        deviation: Standard deviation of its error.
        degrees: Degrees of freedom of ``deviation``; infinite where it is taken as known.
        count: Number of images that it rests on.
        interval: 95 % interval; None without one.
    """

    value: float
    deviation: float
    degrees: float
    count: int
    interval: Interval | None


@dataclass(frozen=True)
class Share:
    """Number of images with a property, out of those of a group; ``interval`` is Wilson's."""

    count: int
    total: int

    @property
    def interval(self) -> Interval:
        """Wilson's interval of the share; 0 to 1 for no images."""
        if not self.total:
            return Interval(0.0, 1.0, LEVEL, "Wilson")
        bounds = stats.binomtest(self.count, self.total).proportion_ci(LEVEL, method="wilson")
        return Interval(float(bounds.low), float(bounds.high), LEVEL, "Wilson")


@dataclass(frozen=True)
class Difference:
    """Comparison of one group with the others of its column.

    Attributes:
        column: Column of the groups.
        group: The group.
        number: Name of the compared number.
        value: Number of the group minus that of the others.
        low: Lower bound of the 95 % interval of ``value``, not corrected; None for shares.
        high: Upper bound.
        p: Two-sided p value.
        p_holm: The same after Holm's correction over all comparisons.
    """

    column: str
    group: str
    number: str
    value: float
    low: float | None
    high: float | None
    p: float
    p_holm: float = math.nan

    @property
    def is_resolved(self) -> bool:
        """True if the corrected p value is below 0.05."""
        return self.p_holm < 1 - LEVEL


def compare_groups(column: str, number: str, groups: Mapping[str, Estimate]) -> list[Difference]:
    """Compare each group with the others by Welch's t test; errors of groups are independent of each other."""
    return [
        _compare(column, name, number, groups[name], [one for other, one in groups.items() if other != name])
        for name in _compared(groups)
    ]


def compare_shares(column: str, number: str, groups: Mapping[str, Share]) -> list[Difference]:
    """Compare the share of each group with that of the others by Fisher's exact test."""
    found = []
    for name in _compared(groups):
        own, others = groups[name], [one for other, one in groups.items() if other != name]
        count, total = sum(one.count for one in others), sum(one.total for one in others)
        table = [[own.count, own.total - own.count], [count, total - count]]
        value = own.count / own.total - count / total
        found.append(Difference(column, name, number, value, None, None, float(stats.fisher_exact(table).pvalue)))
    return found


def correct(differences: Sequence[Difference]) -> list[Difference]:
    """Correct the p values of all comparisons of a report by Holm's method."""
    corrected = holm([one.p for one in differences])
    return [replace(one, p_holm=p) for one, p in zip(differences, corrected, strict=True)]


def balanced_mean(
    values: NDArray[np.float64],
    classes: NDArray[np.int64],
    units: Sequence[str] | None = None,
    *,
    bounds: tuple[float, float] = (-1.0, 1.0),
) -> Estimate:
    """Mean over classes of the mean of ``values`` [N], each in -1..1, with the error of a draw of units.

    The variance is the sum over units (lesions, patients) of their squared influence. One further unit of each class
    at a distance of 1 is added to it, so that classes of few or equal values do not look exact.

    Args:
        values: Value of each image.
        classes: Class of each image.
        units: Unit of each image; None: each image is one.
        bounds: Smallest and largest value; the interval is cut at them.
    """
    present, place, counts = np.unique(classes, return_inverse=True, return_counts=True)
    means = np.bincount(place, values) / counts
    influence = (values - means[place]) / (len(present) * counts[place])
    _, unit = np.unique(np.arange(len(values)) if units is None else np.asarray(units), return_inverse=True)
    sums, freedom = np.bincount(unit, influence), max(1, int(unit.max()) + 1 - len(present))
    units_of_class = np.array([len(np.unique(unit[place == one])) for one in range(len(present))])
    further = float((1 / (len(present) * (units_of_class + 1)) ** 2).sum())
    variance = len(sums) / freedom * float((sums**2).sum()) + further
    value, deviation, degrees = float(means.mean()), math.sqrt(variance), freedom
    return Estimate(value, deviation, degrees, len(values), student_interval(value, deviation, degrees, bounds))


def student_interval(
    value: float, deviation: float, degrees: float, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> Interval:
    """Interval of Student's t around a value, cut at ``bounds``."""
    reach = float(stats.t.ppf((1 + LEVEL) / 2, degrees)) * deviation
    return Interval(max(bounds[0], value - reach), min(bounds[1], value + reach), LEVEL, "Student's t")


def _compared(groups: Mapping[str, object]) -> list[str]:
    names = list(groups)
    return names if len(names) > 2 else names[:1] if len(names) == 2 else []


def _compare(column: str, name: str, number: str, own: Estimate, others: Sequence[Estimate]) -> Difference:
    weights = np.array([one.count for one in others], dtype=np.float64)
    weights /= weights.sum()
    value = own.value - float(weights @ [one.value for one in others])
    variances = [own.deviation**2, *(weights**2 * [one.deviation**2 for one in others])]
    total = float(sum(variances))
    if not total:
        return Difference(column, name, number, value, value, value, float(value == 0))
    degrees = total**2 / sum(part**2 / one.degrees for part, one in zip(variances, (own, *others), strict=True))
    bounds = student_interval(value, math.sqrt(total), degrees)
    p = 2 * float(stats.t.sf(abs(value) / math.sqrt(total), degrees))
    return Difference(column, name, number, value, bounds.low, bounds.high, p)
