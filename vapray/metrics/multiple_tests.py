"""Correction of p values for the number of tests."""

import math
from collections.abc import Sequence

__all__ = ["holm"]


def holm(p: Sequence[float]) -> list[float]:
    """Correct the p values of several tests; a NaN counts as a test and stays NaN.

    Source: Holm, A simple sequentially rejective multiple test procedure (1979).
    """
    order = sorted(range(len(p)), key=lambda place: (math.isnan(p[place]), p[place]))
    corrected, highest = [math.nan] * len(p), 0.0
    for rank, place in enumerate(order):
        if not math.isnan(p[place]):
            highest = max(highest, min(1.0, (len(p) - rank) * p[place]))
            corrected[place] = highest
    return corrected
