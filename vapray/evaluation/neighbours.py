"""Improved precision and recall, density and coverage: membership of one set in the neighbourhoods of the other.

The results are exact although products are float32: products select possible neighbours within a bound on their error,
and distances within the error are recomputed in float64.

Sources: Kynkäänniemi et al. (arXiv 1904.06991), equations 1-3; Naeem et al. (arXiv 2002.09797), equations 5 and 7;
the bound: Higham, Accuracy and Stability of Numerical Algorithms (2002), section 3.1.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vapray.errors import DataError
from vapray.evaluation.pairs import BLOCK_ROWS, Block, CentredRows, sweep

__all__ = ["Balls", "NeighbourScores", "Neighbourhoods", "kept_rows", "neighbour_scores"]

Features = NDArray[np.floating[Any]]
Indices = NDArray[np.int64]
Values = NDArray[np.float64]
SPARE = 8
"""Nearest rows kept beyond the k-th, since float32 may order them differently."""
SURFACE = 1e-12
"""Relative tolerance for points on a ball's surface: float64's rounding of a squared distance."""
PAIRS_AT_ONCE, ROWS_AT_ONCE = 128, 512


@dataclass(frozen=True)
class NeighbourScores:
    """Four scores over the same neighbourhoods: the ball to each point's k-th neighbour in its own set."""

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
    """Number of images in each set."""


def _slack(rows: CentredRows, kind: type[np.floating[Any]] = np.float32) -> float:
    """Maximum error of a squared distance from products, relative to the sum of both squared lengths."""
    return (rows.width + 16) * float(np.finfo(kind).eps) / 2


def _squared_distances(block: Block, norms_a: Values, norms_b: Values) -> Tensor:
    """Squared distances float32 [R, C] of a block, with error at most ``_slack``; ``norms`` are squared lengths."""
    a, b = (torch.from_numpy(some.astype(np.float32)) for some in (norms_a[block.rows], norms_b[block.columns]))
    return torch.add(a[:, None], b).add_(block.products, alpha=-2.0)


def _exact_squares(a: CentredRows, b: CentredRows, i: Indices, j: Indices) -> Values:
    """Squared distances float64 [P] of rows i of ``a`` from rows j of ``b``."""
    found = np.empty(len(i))
    for begin in range(0, len(i), PAIRS_AT_ONCE):
        some = slice(begin, begin + PAIRS_AT_ONCE)
        apart = a.exact[i[some]] - b.exact[j[some]]
        found[some] = np.einsum("pf,pf->p", apart, apart)
    return found


class Balls:
    """Balls around the first ``count`` rows of a set, each to its k-th nearest neighbour, from pairs within the set.

    Args:
        rows: Features of the set.
        k: Number of neighbours.
        count: Number of rows to use.
    """

    def __init__(self, rows: CentredRows, k: int, count: int) -> None:
        self.rows = CentredRows(rows.exact[:count], rows.centre)
        self.k, self._kept = k, k + SPARE
        self._nearest = torch.full((count, self._kept), torch.inf)
        self._which = torch.zeros((count, self._kept), dtype=torch.int64)

    def add(self, block: Block) -> None:
        """Add a block of products."""
        count = len(self.rows)
        if kept := block.cut(count, count):
            squared = _squared_distances(kept, self.rows.norms, self.rows.norms)
            if kept.own:
                squared.fill_diagonal_(torch.inf)
            self._keep(kept.rows, squared, kept.columns.start)
            if kept.mirrored:
                self._keep(kept.columns, squared.T, kept.rows.start)

    def _keep(self, rows: slice, squared: Tensor, first: int) -> None:
        values, which = squared.topk(min(self._kept, squared.shape[1]), dim=1, largest=False, sorted=False)
        values, which = (
            torch.cat(both, dim=1) for both in ((self._nearest[rows], values), (self._which[rows], which + first))
        )
        self._nearest[rows], chosen = values.topk(self._kept, dim=1, largest=False, sorted=False)
        self._which[rows] = which.gather(1, chosen)

    @cached_property
    def squared_radii(self) -> Values:
        """Squared radii of the balls, float64 [count]."""
        norms, nearest = self.rows.norms, self._nearest.double().numpy()
        # The k-th neighbour is at most as far as in float32 plus the error; every row within that bound is a candidate.
        bound = np.partition(nearest, self.k - 1, axis=1)[:, self.k - 1] + 2 * _slack(self.rows) * (norms + norms.max())
        possible = nearest <= bound[:, None]
        i, place = np.nonzero(possible)
        squares = np.full(nearest.shape, np.inf)
        squares[i, place] = _exact_squares(self.rows, self.rows, i, self._which.numpy()[i, place])
        radii = np.partition(squares, self.k - 1, axis=1)[:, self.k - 1]
        crowded = np.flatnonzero(possible.all(axis=1))
        for begin in range(0, len(crowded), ROWS_AT_ONCE):
            some = crowded[begin : begin + ROWS_AT_ONCE]
            radii[some] = self._among_all(some)
        return radii

    def _among_all(self, rows: Indices) -> Values:
        """Squared radii of rows that may have more candidates than were kept; selects them by float64 products."""
        norms = self.rows.norms
        squares = norms[rows, None] + norms - 2.0 * (self.rows.exact[rows] @ self.rows.exact.T)
        squares[np.arange(len(rows)), rows] = np.inf
        bound = np.partition(squares, self.k - 1, axis=1)[:, self.k - 1]
        bound += 2 * _slack(self.rows, np.float64) * (norms[rows] + norms.max())
        i, j = np.nonzero(squares <= bound[:, None])
        squares[:] = np.inf
        squares[i, j] = _exact_squares(self.rows, self.rows, rows[i], j)
        return np.partition(squares, self.k - 1, axis=1)[:, self.k - 1]


class Neighbourhoods:
    """Counts of ball membership, from pairs of a real and a generated set with known balls."""

    def __init__(self, real: Balls, generated: Balls) -> None:
        self._real, self._generated = real, generated
        self._balls_around = np.zeros(len(generated.rows), dtype=np.int64)
        self._recalled, self._covered = (np.zeros(len(real.rows), dtype=bool) for _ in range(2))

    def add(self, block: Block) -> None:
        """Add a block of products."""
        if kept := block.cut(len(self._real.rows), len(self._generated.rows)):
            squared = _squared_distances(kept, self._real.rows.norms, self._generated.rows.norms)
            real, generated = self._inside(kept, squared, self._real)
            self._balls_around += np.bincount(generated, minlength=len(self._balls_around))
            self._covered[real] = True
            self._recalled[self._inside(kept, squared, self._generated)[0]] = True

    def _inside(self, block: Block, squared: Tensor, balls: Balls) -> tuple[Indices, Indices]:
        """Pairs of a real and a generated row, one of which is inside the other's ball of ``balls``."""
        real, generated, slack = self._real.rows, self._generated.rows, _slack(self._real.rows)
        reach, other = slack * real.norms[block.rows], slack * generated.norms[block.columns]
        if balls is self._real:
            reach = reach + balls.squared_radii[block.rows]
        else:
            other = other + balls.squared_radii[block.columns]
        farthest = torch.add(*(torch.from_numpy(some.astype(np.float32)) for some in (reach[:, None], other)))
        i, j = (squared <= farthest).nonzero().numpy().T
        found = squared.numpy()[i, j]
        i, j = i + block.rows.start, j + block.columns.start
        radius = balls.squared_radii[i if balls is self._real else j]
        inside = found < radius - slack * (real.norms[i] + generated.norms[j])
        near = np.flatnonzero(~inside)
        inside[near] = _exact_squares(real, generated, i[near], j[near]) <= radius[near] * (1 + SURFACE)
        return i[inside], j[inside]

    @property
    def scores(self) -> NeighbourScores:
        """Scores over all pairs added so far."""
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
    """Select rows of each set, reduced at random to the smaller size: balls shrink as a set grows."""
    count = min(n_real, n_generated)
    rng = np.random.default_rng(seed)
    kept = [np.arange(n) if n == count else np.sort(rng.choice(n, count, False)) for n in (n_real, n_generated)]
    return kept[0], kept[1]


def neighbour_scores(
    real: Features, generated: Features, *, k: int = 3, seed: int = 0, block_rows: int = BLOCK_ROWS
) -> NeighbourScores:
    """Compute exact precision, recall, density and coverage of ``generated`` against ``real``.

    Args:
        real: Reference features [N, F].
        generated: Generated features [M, F].
        k: Number of neighbours that sets a ball's radius; a point on the surface is inside.
        seed: Seed of the subset of the larger set.
        block_rows: Rows and columns of the distance matrix held in memory at a time.

    Raises:
        DataError: widths differ, or a set has k or fewer images.
    """
    if real.ndim != 2 or generated.ndim != 2 or real.shape[1] != generated.shape[1]:
        shapes = f"{list(real.shape)} and {list(generated.shape)}"
        raise DataError(f"neighbours: expected [N, F] and [M, F], got {shapes}")
    if min(len(real), len(generated)) <= k:
        raise DataError(f"{k} neighbours need more than {k} images, got {len(real)} and {len(generated)}")
    kept = kept_rows(len(real), len(generated), seed)
    # Centred rows lose the fewest digits in the products.
    centre = real.mean(axis=0, dtype=np.float64)
    sets = [CentredRows.about(centre, rows[chosen]) for rows, chosen in zip((real, generated), kept, strict=True)]
    balls = [Balls(rows, k, len(rows)) for rows in sets]
    for rows, own in zip(sets, balls, strict=True):
        sweep(rows, rows, [own], block_rows)
    neighbourhoods = Neighbourhoods(balls[0], balls[1])
    sweep(sets[0], sets[1], [neighbourhoods], block_rows)
    return neighbourhoods.scores
