"""Shares of statements, with intervals that account for several statements from one patient."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from vapray.evaluation.intervals import Interval

__all__ = ["Rate", "rate"]

LEVEL = 0.95


@dataclass(frozen=True)
class Rate:
    """Share of ``count`` outcomes, with its interval."""

    value: float
    count: int
    interval: Interval


def rate(outcomes: Sequence[bool], groups: Sequence[Hashable]) -> Rate | None:
    """Compute the share of true outcomes, with a Wilson interval that accounts for correlation within groups.

    The count is divided by the design effect: the variance between groups over that of independent outcomes. If all
    outcomes are equal, it cannot be estimated, and outcomes of a group are assumed to be fully correlated.

    Args:
        outcomes: Outcomes of single statements.
        groups: Group of each statement: a patient, a lesion.

    Returns:
        The share, or None without outcomes.

    Source: Rao, Scott, A simple method for the analysis of clustered binary data (1992); Wilson (1927).
    """
    if not outcomes:
        return None
    hits = np.asarray(outcomes, dtype=np.float64)
    share = float(hits.mean())
    _, owner = np.unique([str(group) for group in groups], return_inverse=True)
    low, high = _wilson(share, len(hits) / _design_effect(hits - share, owner, share * (1 - share)))
    return Rate(share, len(hits), Interval(low, high, LEVEL, "Wilson, by group"))


def _design_effect(residuals: np.ndarray, owner: np.ndarray, variance: float) -> float:
    sizes = np.bincount(owner)
    if variance == 0:
        return float((sizes**2).sum() / sizes.sum())
    between = float((np.bincount(owner, residuals) ** 2).sum() * len(sizes) / max(1, len(sizes) - 1))
    return max(1.0, between / (variance * len(residuals)))


def _wilson(share: float, count: float) -> tuple[float, float]:
    z2 = float(norm.ppf((1 + LEVEL) / 2)) ** 2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = math.sqrt(z2 * (share * (1 - share) / count + z2 / (4 * count**2))) / (1 + z2 / count)
    return max(0.0, centre - half), min(1.0, centre + half)
