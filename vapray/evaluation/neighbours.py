"""Improved precision and recall, density and coverage: does one set lie in the neighbourhoods of the other?

Sources: Kynkäänniemi et al. (arXiv 1904.06991), equations 1-3;
Naeem et al. (arXiv 2002.09797), equations 5 and 7.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vapray.errors import DataError
from vapray.evaluation.pairs import BLOCK_ROWS, Block, sweep

__all__ = ["Balls", "NeighbourScores", "Neighbourhoods", "kept_rows", "neighbour_scores"]

Features = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class NeighbourScores:
    """All four with the same neighbourhoods: the ball to each point's k-th neighbour in its own set."""

    precision: float
    """Share of generated images inside some real ball: fidelity."""
    recall: float
    """Share of real images inside some generated ball: variety."""
    density: float
    """Mean number of real balls around a generated image, over k; may exceed 1."""
    coverage: float
    """Share of real balls that hold a generated image."""
    k: int
    count: int
    """Images on each side."""


def _squared_distances(block: Block, norms_a: NDArray[np.float64], norms_b: NDArray[np.float64]) -> NDArray[np.float64]:
    """[R, C] of a block of products; ``norms`` are squared lengths.

    Distances below float64's rounding of the operands are 0, so that copies of a picture are at distance 0.
    """
    sums = norms_a[block.rows, None] + norms_b[block.columns]
    squared = block.products * -2.0
    squared += sums
    sums *= 1e-12
    squared[squared <= sums] = 0.0
    return squared


def _smallest(squared: NDArray[np.float64], k: int, axis: int) -> NDArray[np.float64]:
    """[N, k] or fewer, along an axis."""
    found = torch.from_numpy(squared).topk(min(k, squared.shape[axis]), dim=axis, largest=False, sorted=False).values
    return found.numpy() if axis == 1 else found.numpy().T


class Balls:
    """For each of the first ``count`` rows of a set the ball to its k-th nearest other one, from pairs of the set.

    Args:
        norms: [N], squared lengths of the rows.
        k: neighbours.
        count: rows that count.
    """

    def __init__(self, norms: NDArray[np.float64], k: int, count: int) -> None:
        self.norms, self.k = norms[:count], k
        # One more than k, because a row is its own nearest.
        self._nearest = np.full((count, k + 1), np.inf)

    def add(self, block: Block) -> None:
        """Take in a block of products."""
        count = len(self.norms)
        if kept := block.cut(count, count):
            squared = _squared_distances(kept, self.norms, self.norms)
            self._keep(kept.rows, _smallest(squared, self.k + 1, axis=1))
            if kept.mirrored:
                self._keep(kept.columns, _smallest(squared, self.k + 1, axis=0))

    def _keep(self, rows: slice, found: NDArray[np.float64]) -> None:
        both = np.concatenate([self._nearest[rows], found], axis=1)
        self._nearest[rows] = np.partition(both, self.k, axis=1)[:, : self.k + 1]

    @property
    def squared_radii(self) -> NDArray[np.float64]:
        """[count]."""
        return self._nearest.max(axis=1)


class Neighbourhoods:
    """Who lies in whose ball, from pairs of a real and a generated set whose balls are known."""

    def __init__(self, real: Balls, generated: Balls) -> None:
        self._real, self._generated = real, generated
        self._real_radii, self._generated_radii = real.squared_radii, generated.squared_radii
        self._balls_around = np.zeros(len(generated.norms))
        self._recalled, self._covered = (np.zeros(len(real.norms), dtype=bool) for _ in range(2))

    def add(self, block: Block) -> None:
        """Take in a block of products."""
        if kept := block.cut(len(self._real.norms), len(self._generated.norms)):
            squared = _squared_distances(kept, self._real.norms, self._generated.norms)
            in_real_ball = squared <= self._real_radii[kept.rows, None]
            self._balls_around[kept.columns] += in_real_ball.sum(axis=0)
            self._covered[kept.rows] |= in_real_ball.any(axis=1)
            self._recalled[kept.rows] |= (squared <= self._generated_radii[kept.columns]).any(axis=1)

    @property
    def scores(self) -> NeighbourScores:
        """Of all pairs so far."""
        around, k = self._balls_around, self._real.k
        return NeighbourScores(
            precision=float((around > 0).mean()),
            recall=float(self._recalled.mean()),
            density=float(around.mean() / k),
            coverage=float(self._covered.mean()),
            k=k,
            count=len(around),
        )


def kept_rows(n_real: int, n_generated: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of either set, cut at random to the smaller one: balls shrink as a set grows, so counts must agree."""
    count = min(n_real, n_generated)
    rng = np.random.default_rng(seed)
    kept = [np.arange(n) if n == count else np.sort(rng.choice(n, count, False)) for n in (n_real, n_generated)]
    return kept[0], kept[1]


def neighbour_scores(
    real: Features, generated: Features, *, k: int = 3, seed: int = 0, block_rows: int = BLOCK_ROWS
) -> NeighbourScores:
    """Precision, recall, density and coverage of ``generated`` [M, F] against ``real`` [N, F], exact.

    Args:
        real: the reference.
        generated: what is judged.
        k: neighbours that set a ball's radius; a point on the surface is inside.
        seed: of the subset that is kept of the larger set.
        block_rows: rows and columns of the distance matrix held at once.

    Raises:
        DataError: widths differ, or a set with k or fewer images.
    """
    if real.ndim != 2 or generated.ndim != 2 or real.shape[1] != generated.shape[1]:
        shapes = f"{list(real.shape)} and {list(generated.shape)}"
        raise DataError(f"neighbours: wanted [N, F] and [M, F], got {shapes}")
    if min(len(real), len(generated)) <= k:
        raise DataError(f"{k} neighbours need more than {k} images, got {len(real)} and {len(generated)}")
    kept = kept_rows(len(real), len(generated), seed)
    # About the common centre, where the products lose the fewest digits.
    centre = real.mean(axis=0, dtype=np.float64)
    sets = [rows[chosen] - centre for rows, chosen in zip((real, generated), kept, strict=True)]
    balls = [Balls(np.einsum("nf,nf->n", rows, rows), k, len(rows)) for rows in sets]
    for rows, own in zip(sets, balls, strict=True):
        sweep(rows, rows, [own], block_rows)
    neighbourhoods = Neighbourhoods(balls[0], balls[1])
    sweep(sets[0], sets[1], [neighbourhoods], block_rows)
    return neighbourhoods.scores
