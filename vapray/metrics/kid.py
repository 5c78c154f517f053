"""KID: the squared maximum mean discrepancy under a cubic kernel, unbiased at any number of images.

Source: Binkowski et al., Demystifying MMD GANs (arXiv 1801.01401), section 4 and appendix D.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vapray.errors import DataError
from vapray.metrics.pairwise_blocks import BLOCK_ROWS, Block, CentredRows, for_each_block

__all__ = ["ChosenRows", "KIDResult", "KernelSums", "kernel_inception_distance", "kernel_mmd2", "unbiased_mmd2"]

Features = NDArray[np.floating[Any]]
Choices = NDArray[np.float64]


@dataclass(frozen=True)
class KIDResult:
    """Mean and standard deviation of the discrepancy over random subsets."""

    mean: float
    deviation: float
    subsets: int
    subset_size: int


@dataclass(frozen=True)
class ChosenRows:
    """Set of features, D choices of its rows, and the sums over rows that its pairs with any set need.

    Attributes:
        rows: The set, N rows of F.
        chosen: Indicator matrix [D, N], 1 if a choice contains a row.
    """

    rows: CentredRows
    chosen: Choices

    @cached_property
    def ends(self) -> NDArray[np.float64]:
        """Part of (x.y / F + 1) that depends on the row only, [N]."""
        return 0.5 + self.rows.shifts / self.rows.width

    @cached_property
    def powers(self) -> NDArray[np.float64]:
        """Sums of the ends to the powers 0 to 3, [4, D]."""
        return np.stack([self.chosen @ self.ends**power for power in range(4)])

    @cached_property
    def weighted_rows(self) -> NDArray[np.float64]:
        """Sums of the rows times their ends to the powers 0 to 2, [3, D, F]."""
        weights = np.concatenate([self.chosen * self.ends**power for power in range(3)])
        return (weights @ self.rows.exact).reshape(3, len(self.chosen), -1)


class KernelSums:
    """Sums of k(x, y) = (x.y / F + 1)^3 over pairs of different rows, for D choices of rows at once.

    With p the product of centred rows over F, k = (a + b + p)^3, where a depends on x only and b on y only. The sums of
    (a + b)^3 and of 3 (a + b)^2 p follow from sums over rows, in float64; only p^2 and p^3 need the pairs. So no large
    term is rounded to the float32 of the products, for any location of the features.

    Args:
        a: First set.
        b: Second set; the same object for the pairs within a set.
    """

    def __init__(self, a: ChosenRows, b: ChosenRows) -> None:
        self._width = a.rows.width
        self._left = torch.from_numpy(np.concatenate([a.chosen, a.chosen * a.ends]))
        self._right, self._weighted = b.chosen, b.chosen * b.ends
        self.sums = _sums_over_rows(a, b)
        """Sums of each choice, [D]."""
        if a is b:
            self.sums -= _of_rows_with_themselves(a)

    def add(self, block: Block) -> None:
        """Add a block of products."""
        p = block.products / self._width
        if block.own:
            p.fill_diagonal_(0.0)
        squares = p * p
        count, columns = len(self.sums), block.columns
        left = self._left[:, block.rows].to(p.dtype)
        of_squares = _exact(left @ squares)
        of_cubes = _exact(left[:count] @ squares.mul_(p))
        right, weighted = self._right[:, columns], self._weighted[:, columns]
        found = 3 * (of_squares[count:] * right + of_squares[:count] * weighted) + of_cubes * right
        self.sums += (2 if block.mirrored else 1) * found.sum(axis=1)


def _exact(found: Tensor) -> NDArray[np.float64]:
    exact: NDArray[np.float64] = found.double().numpy()
    return exact


def _sums_over_rows(a: ChosenRows, b: ChosenRows) -> NDArray[np.float64]:
    """Sums [D] of (a + b)^3 + 3 (a + b)^2 p over all pairs, including pairs of a row with itself."""
    of_a, of_b, rows_a, rows_b = a.powers, b.powers, a.weighted_rows, b.weighted_rows
    cubes = of_a[3] * of_b[0] + 3 * of_a[2] * of_b[1] + 3 * of_a[1] * of_b[2] + of_a[0] * of_b[3]
    products = rows_a[2] * rows_b[0] + 2 * rows_a[1] * rows_b[1] + rows_a[0] * rows_b[2]
    found: NDArray[np.float64] = cubes + 3 * products.sum(axis=1) / a.rows.width
    return found


def _of_rows_with_themselves(a: ChosenRows) -> NDArray[np.float64]:
    """Part [D] of the sum over all pairs that comes from pairs of a row with itself."""
    found: NDArray[np.float64] = a.chosen @ ((2 * a.ends) ** 3 + 3 * (2 * a.ends) ** 2 * a.rows.norms / a.rows.width)
    return found


def unbiased_mmd2(a: ChosenRows, b: ChosenRows, sums: tuple[KernelSums, KernelSums, KernelSums]) -> NDArray[np.float64]:
    """Unbiased squared discrepancy [D] of every choice of rows; ``sums`` are within a, within b and between both."""
    n, m = a.chosen.sum(axis=1), b.chosen.sum(axis=1)
    within_a, within_b, between = (some.sums for some in sums)
    return within_a / (n * (n - 1)) + within_b / (m * (m - 1)) - 2.0 * between / (n * m)


def kernel_mmd2(a: Features, b: Features, *, block_rows: int = BLOCK_ROWS) -> float:
    """Compute the unbiased squared discrepancy of two full sets [N, F] and [M, F]; may be slightly negative.

    Raises:
        DataError: widths differ, or a set has fewer than two rows.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise DataError(f"KID: expected [N, F] and [M, F], got {list(a.shape)} and {list(b.shape)}")
    if min(len(a), len(b)) < 2:
        raise DataError(f"KID needs at least 2 images in each set, got {len(a)} and {len(b)}")
    centre = a.mean(axis=0, dtype=np.float64)
    one, other = (ChosenRows(CentredRows.about(centre, some), np.ones((1, len(some)))) for some in (a, b))
    sums = KernelSums(one, one), KernelSums(other, other), KernelSums(one, other)
    for_each_block(one.rows, one.rows, [sums[0]], block_rows, exact=True)
    for_each_block(other.rows, other.rows, [sums[1]], block_rows, exact=True)
    for_each_block(one.rows, other.rows, [sums[2]], block_rows, exact=True)
    return float(unbiased_mmd2(one, other, sums)[0])


def kernel_inception_distance(
    a: Features, b: Features, *, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> KIDResult:
    """Compute KID as published: the mean of ``kernel_mmd2`` over random subsets of equal size.

    Subsets have at most the size of the smaller set. ``kernel_mmd2`` of the full sets has an equal mean, less variance.
    """
    size = min(subset_size, len(a), len(b))
    rng = np.random.default_rng(seed)
    draws = [
        kernel_mmd2(a[rng.choice(len(a), size, replace=False)], b[rng.choice(len(b), size, replace=False)])
        for _ in range(subsets)
    ]
    return KIDResult(float(np.mean(draws)), float(np.std(draws)), subsets, size)
