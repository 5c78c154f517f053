"""KID with its half-samples, and precision, recall, density and coverage, from one sweep over all pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vapray.errors import DataError
from vapray.metrics.kid import ChosenRows, KernelSums, unbiased_mmd2
from vapray.metrics.pairwise_blocks import BLOCK_ROWS, CentredRows, for_each_block
from vapray.metrics.prdc import KnnRadii, ManifoldCounts, PRDCScores, match_sample_sizes

__all__ = ["PairwiseScores", "kid_and_prdc"]

Features = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class PairwiseScores:
    """Metrics from all pairs of two sets."""

    kid: float
    """KID of the full sets, as :func:`vapray.metrics.kid.kernel_mmd2`."""
    kid_of_halves: NDArray[np.float64]
    """KID of each pair of half-samples, [D]."""
    prdc: PRDCScores
    """Precision, recall, density and coverage, as :func:`vapray.metrics.prdc.prdc_scores`."""


def kid_and_prdc(
    real: Features,
    generated: Features,
    halves: Sequence[Sequence[NDArray[np.int64]]] = (),
    *,
    k: int = 3,
    seed: int = 0,
    block_rows: int = BLOCK_ROWS,
) -> PairwiseScores:
    """Compute all pairwise metrics in one pass over the pairs.

    Args:
        real: Reference features [N, F].
        generated: Generated features [M, F].
        halves: D half-samples, each as rows of ``real`` and rows of ``generated``, whose KID is computed too.
        k: Number of neighbours that sets a ball's radius.
        seed: Seed of the subset of the larger set that precision and recall use.
        block_rows: Rows and columns of the products held in memory at a time.

    Raises:
        DataError: widths differ, or a set has k or fewer images, or fewer than two.
    """
    if real.ndim != 2 or generated.ndim != 2 or real.shape[1] != generated.shape[1]:
        raise DataError(f"pairs: expected [N, F] and [M, F], got {list(real.shape)} and {list(generated.shape)}")
    counts = [len(real), len(generated)]
    if min(counts) <= max(k, 1):
        raise DataError(f"{k} neighbours need more than {max(k, 1)} images, got {counts[0]} and {counts[1]}")
    centre = real.mean(axis=0, dtype=np.float64)
    kept = match_sample_sizes(counts[0], counts[1], seed)
    orders = [_first(rows, count) for rows, count in zip(kept, counts, strict=True)]
    sets = [CentredRows.about(centre, rows[order]) for rows, order in zip((real, generated), orders, strict=True)]
    chosen = [
        ChosenRows(rows, _choices(order, [half[side] for half in halves]))
        for side, (rows, order) in enumerate(zip(sets, orders, strict=True))
    ]
    real_rows, made_rows = sets
    real_choices, made_choices = chosen
    real_balls, made_balls = (KnnRadii(rows, k, min(counts)) for rows in sets)
    within_real, within_made = KernelSums(real_choices, real_choices), KernelSums(made_choices, made_choices)
    for_each_block(real_rows, real_rows, [within_real, real_balls], block_rows)
    for_each_block(made_rows, made_rows, [within_made, made_balls], block_rows)
    between, counted = KernelSums(real_choices, made_choices), ManifoldCounts(real_balls, made_balls)
    for_each_block(real_rows, made_rows, [between, counted], block_rows)
    found = unbiased_mmd2(real_choices, made_choices, (within_real, within_made, between))
    return PairwiseScores(float(found[0]), found[1:], counted.scores)


def _first(kept: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Order all rows, the kept ones first."""
    return np.concatenate([kept, np.setdiff1d(np.arange(count), kept)])


def _choices(order: NDArray[np.int64], halves: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
    """Indicator matrix [1 + D, N]: all rows, then the rows of each half-sample."""
    chosen = np.zeros((1 + len(halves), len(order)))
    chosen[0] = 1.0
    for row, half in zip(chosen[1:], halves, strict=True):
        row[half] = 1.0
    return chosen[:, order]
