"""Copy test: tests if generated images are nearer to training images than new images would be.

The test statistic is the distance to the nearest training image over the mean distance of the 50 nearest, as in Carlini
et al. (arXiv 2301.13188, section 4): a blurred or empty image has a small plain distance to many images without being
a copy. Held-out images that share no group with training images give the distribution for new images.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import betabinom, binomtest

from vapray.metrics.intervals import Interval

__all__ = ["CANNOT_TELL", "COPIES", "NONE", "CopyTestResult", "Verdict", "combine_verdicts", "run_copy_test"]

Verdict = Literal["copies found", "none found", "cannot tell"]
COPIES: Verdict = "copies found"
NONE: Verdict = "none found"
CANNOT_TELL: Verdict = "cannot tell"

QUANTILE = 0.01
"""Quantile of held-out images that sets the threshold."""
MIN_HELD_OUT = round(1 / QUANTILE)
"""Fewest held-out images for the test: the quantile then contains one image."""
ALPHA = 0.005
"""Significance level of one search; two searches give a false alarm in 1 of 100 audits."""
MIN_POWER = 0.8
"""Minimum share of planted copies found (power) for the verdict that there are no copies."""
MOST_PLANTED, CLEARLY_NEARER = 0.95, 2 / 3
"""A single image is a copy if its distance is within this quantile of planted copies, and within this fraction of the
distance of the nearest held-out image."""
LEVEL = 0.95
Distances = NDArray[np.float64]


@dataclass(frozen=True)
class CopyTestResult:
    """Test result of one search. Distances are relative to the mean of the nearest training images: 0 is a copy."""

    n_held_out: int
    n_generated: int
    n_planted: int
    threshold: float | None
    """Maximum distance of the nearest 1 % of held-out images; None without held-out images."""
    expected: float
    """Expected share of new images at or below the threshold."""
    below: int
    """Number of generated images at or below the threshold."""
    share: float
    interval: Interval
    """Exact binomial interval of ``share`` (Clopper and Pearson)."""
    chance: float
    """p-value: probability of at least ``below`` images, if generated images are distributed as held-out ones."""
    planted_found: float
    """Share of planted copies at or below the threshold."""
    copy_distance: float | None
    """Distance within which a single image is a copy; None if too few images are held out, or some are copies."""
    single_found: float
    """Share of planted copies within ``copy_distance``."""
    copies: int
    """Number of generated images within ``copy_distance``."""

    @property
    def verdict(self) -> Verdict:
        """Verdict of the search; "none found" requires that planted copies are found."""
        if self.copies or (self.n_held_out >= MIN_HELD_OUT and self.chance < ALPHA):
            return COPIES
        if self.n_held_out < MIN_HELD_OUT or not self.n_generated or self.planted_found < MIN_POWER:
            return CANNOT_TELL
        return NONE


def run_copy_test(held_out: Distances, planted: Distances, generated: Distances) -> CopyTestResult:
    """Test generated images [M] against held-out real images [N] and planted copies [P].

    The threshold is the k-th smallest distance of held-out images, with k = 1 % of N + 1. The number of M images of the
    same kind at or below it is beta-binomial for any distribution of distances, which accounts for the uncertainty of
    a threshold from N images.
    """
    below, expected, threshold, chance = 0, 0.0, None, 1.0
    if len(held_out):
        rank = max(1, int(QUANTILE * (len(held_out) + 1)))
        threshold, expected = float(np.sort(held_out)[rank - 1]), rank / (len(held_out) + 1)
        below = int((generated <= threshold).sum())
        chance = float(betabinom.sf(below - 1, len(generated), rank, len(held_out) + 1 - rank))
    copy_distance = _copy_distance(held_out, planted)
    single = -1.0 if copy_distance is None else copy_distance
    return CopyTestResult(
        n_held_out=len(held_out),
        n_generated=len(generated),
        n_planted=len(planted),
        threshold=threshold,
        expected=expected,
        below=below,
        share=below / max(1, len(generated)),
        interval=_interval(below, len(generated)),
        chance=chance,
        planted_found=float((planted <= threshold).mean()) if len(planted) and threshold is not None else 0.0,
        copy_distance=copy_distance,
        single_found=float((planted <= single).mean()) if len(planted) else 0.0,
        copies=int((generated <= single).sum()),
    )


def combine_verdicts(pixels: CopyTestResult, features: CopyTestResult) -> Verdict:
    """Combine both verdicts: either search can find copies; only the pixel search, with its flips, can exclude them."""
    return COPIES if COPIES in (pixels.verdict, features.verdict) else pixels.verdict


def _copy_distance(held_out: Distances, planted: Distances) -> float | None:
    if len(held_out) < MIN_HELD_OUT or not len(planted) or not held_out.min():
        return None
    return float(min(np.quantile(planted, MOST_PLANTED), CLEARLY_NEARER * held_out.min()))


def _interval(below: int, count: int) -> Interval:
    if not count:
        return Interval(0.0, 1.0, LEVEL, "Clopper-Pearson")
    bounds = binomtest(below, count).proportion_ci(LEVEL, method="exact")
    return Interval(float(bounds.low), float(bounds.high), LEVEL, "Clopper-Pearson")
