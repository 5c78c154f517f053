"""Improved precision and recall, density and coverage: does one set lie in the neighbourhoods of the other?

Sources: Kynkäänniemi et al. (arXiv 1904.06991), equations 1-3;
Naeem et al. (arXiv 2002.09797), equations 5 and 7.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vapray.errors import DataError

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


def _squared_distances(
    a: NDArray[np.float64], b: NDArray[np.float64], block_rows: int
) -> Iterator[NDArray[np.float64]]:
    """Blocks [R, M] of squared distances from rows of ``a`` to all of ``b``, in order.

    Distances below float64's rounding of the operands are 0, so that copies of a picture are at distance 0.
    """
    norms_a, norms_b = (np.einsum("nf,nf->n", rows, rows) for rows in (a, b))
    for start in range(0, len(a), block_rows):
        sums = norms_a[start : start + block_rows, None] + norms_b
        squared = sums - 2.0 * (a[start : start + block_rows] @ b.T)
        yield np.where(squared <= 1e-12 * sums, 0.0, squared)


def _squared_radii(rows: NDArray[np.float64], k: int, block_rows: int) -> NDArray[np.float64]:
    """[N], to the k-th nearest other row; index k because a row is its own nearest."""
    blocks = _squared_distances(rows, rows, block_rows)
    return np.concatenate([np.partition(block, k, axis=1)[:, k] for block in blocks])


def _equal_counts(real: Features, generated: Features, seed: int) -> tuple[Features, Features]:
    """Both sets cut at random to the smaller one: balls shrink as a set grows, so counts must agree."""
    count = min(len(real), len(generated))
    rng = np.random.default_rng(seed)
    cut = [x if len(x) == count else x[np.sort(rng.choice(len(x), count, False))] for x in (real, generated)]
    return cut[0], cut[1]


def neighbour_scores(
    real: Features, generated: Features, *, k: int = 3, seed: int = 0, block_rows: int = 1024
) -> NeighbourScores:
    """Precision, recall, density and coverage of ``generated`` [M, F] against ``real`` [N, F], exact.

    Args:
        real: the reference.
        generated: what is judged.
        k: neighbours that set a ball's radius; a point on the surface is inside.
        seed: of the subset that is kept of the larger set.
        block_rows: rows of the distance matrix held at once.

    Raises:
        DataError: widths differ, or a set with k or fewer images.
    """
    if real.ndim != 2 or generated.ndim != 2 or real.shape[1] != generated.shape[1]:
        shapes = f"{list(real.shape)} and {list(generated.shape)}"
        raise DataError(f"neighbours: wanted [N, F] and [M, F], got {shapes}")
    if min(len(real), len(generated)) <= k:
        raise DataError(f"{k} neighbours need more than {k} images, got {len(real)} and {len(generated)}")
    real, generated = _equal_counts(real, generated, seed)
    # About the common centre, where the products lose the fewest digits.
    centre = real.mean(axis=0, dtype=np.float64)
    return _scores(real - centre, generated - centre, k, block_rows)


def _scores(real: NDArray[np.float64], generated: NDArray[np.float64], k: int, block_rows: int) -> NeighbourScores:
    real_radii = _squared_radii(real, k, block_rows)
    generated_radii = _squared_radii(generated, k, block_rows)
    count = len(real)
    balls_around = np.zeros(count)
    recalled = covered = 0
    for start, block in zip(range(0, count, block_rows), _squared_distances(real, generated, block_rows), strict=True):
        in_real_ball = block <= real_radii[start : start + block_rows, None]
        balls_around += in_real_ball.sum(axis=0)
        covered += int(in_real_ball.any(axis=1).sum())
        recalled += int((block <= generated_radii).any(axis=1).sum())
    precision, density = (balls_around > 0).mean(), balls_around.mean() / k
    return NeighbourScores(float(precision), recalled / count, float(density), covered / count, k, count)
