"""KID with its halves, and precision, recall, density and coverage, from one sweep over the pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vapray.errors import DataError
from vapray.evaluation.kernel import PAIRINGS, ChosenRows, KernelSums, discrepancies
from vapray.evaluation.neighbours import Balls, Neighbourhoods, NeighbourScores, kept_rows
from vapray.evaluation.pairs import BLOCK_ROWS, CentredRows, OfPairs, sweep

__all__ = ["PairwiseScores", "pairwise_scores"]

Features = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class PairwiseScores:
    """What the pairs of two sets say."""

    kid: float
    """Of the full sets, as ``kernel.kernel_mmd2``."""
    kid_of_halves: NDArray[np.float64]
    """[D]."""
    near: NeighbourScores
    """As ``neighbours.neighbour_scores``."""


def pairwise_scores(
    real: Features,
    generated: Features,
    halves: Sequence[Sequence[NDArray[np.int64]]] = (),
    *,
    k: int = 3,
    seed: int = 0,
    block_rows: int = BLOCK_ROWS,
) -> PairwiseScores:
    """Compare every row with every other once.

    Args:
        real: [N, F].
        generated: [M, F].
        halves: D times rows of ``real`` and rows of ``generated`` whose KID is wanted too.
        k: neighbours that set a ball's radius.
        seed: of the subset of the larger set that precision and recall keep.
        block_rows: rows and columns of the products held at once.

    Raises:
        DataError: widths differ, or a set with k or fewer images, or with fewer than two.
    """
    if real.ndim != 2 or generated.ndim != 2 or real.shape[1] != generated.shape[1]:
        raise DataError(f"pairs: wanted [N, F] and [M, F], got {list(real.shape)} and {list(generated.shape)}")
    counts = [len(real), len(generated)]
    if min(counts) <= max(k, 1):
        raise DataError(f"{k} neighbours need more than {max(k, 1)} images, got {counts[0]} and {counts[1]}")
    centre = real.mean(axis=0, dtype=np.float64)
    kept = kept_rows(counts[0], counts[1], seed)
    orders = [_first(rows, count) for rows, count in zip(kept, counts, strict=True)]
    sets = [CentredRows.about(centre, rows[order]) for rows, order in zip((real, generated), orders, strict=True)]
    chosen = [
        ChosenRows(rows, _choices(order, [half[side] for half in halves]))
        for side, (rows, order) in enumerate(zip(sets, orders, strict=True))
    ]
    balls = [Balls(rows, k, min(counts)) for rows in sets]
    sums = []
    for a, b in PAIRINGS:
        sums.append(KernelSums(chosen[a], chosen[b]))
        measure: OfPairs = balls[a] if a == b else (between := Neighbourhoods(balls[0], balls[1]))
        sweep(sets[a], sets[b], [sums[-1], measure], block_rows)
    found = discrepancies(chosen, sums)
    return PairwiseScores(float(found[0]), found[1:], between.scores)


def _first(kept: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """All rows, those that are kept before the others."""
    return np.concatenate([kept, np.setdiff1d(np.arange(count), kept)])


def _choices(order: NDArray[np.int64], halves: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
    """[1 + D, N]: all rows, then those of each half, 1 where a row belongs."""
    chosen = np.zeros((1 + len(halves), len(order)))
    chosen[0] = 1.0
    for row, half in zip(chosen[1:], halves, strict=True):
        row[half] = 1.0
    return chosen[:, order]
