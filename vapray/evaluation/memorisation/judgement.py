"""From distances to a verdict: is a generated picture nearer to a training picture than a new one would be?

What is judged is the distance to the nearest training picture over the mean distance of the 50 nearest, as Carlini et
al. (arXiv 2301.13188, section 4) do: the plain distance of a soft or empty picture is small to many pictures at once,
which is no copy. Held-out pictures that share no group with training ones say what new pictures have.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import betabinom, binomtest

from vapray.evaluation.intervals import Interval

__all__ = ["CANNOT_TELL", "COPIES", "NONE", "Judged", "Verdict", "judge", "verdict_of"]

Verdict = Literal["copies found", "none found", "cannot tell"]
COPIES: Verdict = "copies found"
NONE: Verdict = "none found"
CANNOT_TELL: Verdict = "cannot tell"

QUANTILE = 0.01
"""The nearest share of held-out pictures sets the threshold."""
FEWEST_HELD_OUT = round(1 / QUANTILE)
"""Below it no held-out picture stands for that share."""
CHANCE = 0.005
"""A share this unlikely for new pictures speaks of copies; two searches give a false alarm in 1 of 100 audits."""
MUST_BE_FOUND = 0.8
"""Share of planted copies, below which a search that finds nothing says nothing."""
MOST_PLANTED, CLEARLY_NEARER = 0.95, 2 / 3
"""A single picture is called a copy within what this share of planted copies is within, and within this part of the
distance of the nearest held-out picture."""
LEVEL = 0.95
Distances = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """What one search says. Distances are over the mean of the nearest training pictures: 0 is a copy."""

    n_held_out: int
    n_generated: int
    n_planted: int
    threshold: float | None
    """The nearest 1 % of held-out pictures are at most so far; None without held-out pictures."""
    expected: float
    """Share of new pictures that is at most so far."""
    below: int
    """Generated pictures that are."""
    share: float
    interval: Interval
    """Exact binomial, Clopper and Pearson."""
    chance: float
    """Probability of so many, if generated pictures were as new as held-out ones."""
    planted_found: float
    """Share of planted copies at or below the threshold."""
    copy_distance: float | None
    """Within it a single picture is called a copy; None where too few are held out, or some of them are copies."""
    single_found: float
    """Share of planted copies within it."""
    copies: int
    """Generated pictures within it."""

    @property
    def verdict(self) -> Verdict:
        """Copies that are found count in any case; that there are none is said only where planted ones are found."""
        if self.copies or (self.n_held_out >= FEWEST_HELD_OUT and self.chance < CHANCE):
            return COPIES
        if self.n_held_out < FEWEST_HELD_OUT or not self.n_generated or self.planted_found < MUST_BE_FOUND:
            return CANNOT_TELL
        return NONE


def judge(held_out: Distances, planted: Distances, generated: Distances) -> Judged:
    """Judge generated pictures [M] by held-out real ones [N] and by planted copies [P].

    The threshold is the k-th smallest distance of held-out pictures, k = 1 % of N + 1. Of M pictures of the same kind
    a beta-binomial number lies there, whatever the distribution of distances: that N pictures know the threshold only
    so well is accounted for.
    """
    below, expected, threshold, chance = 0, 0.0, None, 1.0
    if len(held_out):
        rank = max(1, int(QUANTILE * (len(held_out) + 1)))
        threshold, expected = float(np.sort(held_out)[rank - 1]), rank / (len(held_out) + 1)
        below = int((generated <= threshold).sum())
        chance = float(betabinom.sf(below - 1, len(generated), rank, len(held_out) + 1 - rank))
    copy_distance = _copy_distance(held_out, planted)
    single = -1.0 if copy_distance is None else copy_distance
    return Judged(
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


def verdict_of(pixels: Judged, features: Judged) -> Verdict:
    """Of both searches: either can find copies; only the one of pixels, which knows flips and moves, can find none."""
    return COPIES if COPIES in (pixels.verdict, features.verdict) else pixels.verdict


def _copy_distance(held_out: Distances, planted: Distances) -> float | None:
    if len(held_out) < FEWEST_HELD_OUT or not len(planted) or not held_out.min():
        return None
    return float(min(np.quantile(planted, MOST_PLANTED), CLEARLY_NEARER * held_out.min()))


def _interval(below: int, count: int) -> Interval:
    if not count:
        return Interval(0.0, 1.0, LEVEL, "Clopper-Pearson")
    bounds = binomtest(below, count).proportion_ci(LEVEL, method="exact")
    return Interval(float(bounds.low), float(bounds.high), LEVEL, "Clopper-Pearson")
