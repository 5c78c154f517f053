"""KID: the squared maximum mean discrepancy under a cubic kernel, unbiased at any number of images.

Source: Binkowski et al., Demystifying MMD GANs (arXiv 1801.01401), section 4 and appendix D.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vapray.errors import DataError
from vapray.evaluation.pairs import BLOCK_ROWS, Block, sweep

__all__ = ["KernelDistance", "KernelSums", "discrepancies", "kernel_distance", "kernel_mmd2"]

Features = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class KernelDistance:
    """Mean and standard deviation of the discrepancy over random subsets."""

    mean: float
    deviation: float
    subsets: int
    subset_size: int


class KernelSums:
    """Sums of k(x, y) = (x.y / F + 1)^3 over pairs of unlike rows, for D choices of rows at once.

    Args:
        width: F.
        left: [D, N], 1 where a choice has a row of the first set, else 0.
        right: [D, M], of the second; the same array where both sets are one.
        shifts: [N] and [M], what has to be added to the products of a pair's rows; None: nothing.
    """

    def __init__(
        self,
        width: int,
        left: NDArray[np.float64],
        right: NDArray[np.float64],
        shifts: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    ) -> None:
        self._width, self.left, self.right, self._shifts = width, left, right, shifts
        self.sums = np.zeros(len(left))
        """[D]."""

    def add(self, block: Block) -> None:
        """Take in a block of products."""
        base = block.products
        if self._shifts:
            base = base + (self._shifts[0][block.rows, None] + self._shifts[1][block.columns])
        base = base / self._width
        base += 1.0
        kernel = base * base
        kernel *= base
        if self.left is self.right and not block.mirrored:
            np.fill_diagonal(kernel, 0.0)
        sums = ((self.left[:, block.rows] @ kernel) * self.right[:, block.columns]).sum(axis=1)
        self.sums += 2 * sums if block.mirrored else sums


def discrepancies(within_a: KernelSums, within_b: KernelSums, between: KernelSums) -> NDArray[np.float64]:
    """[D], the unbiased squared discrepancy of every choice of rows."""
    n, m = between.left.sum(axis=1), between.right.sum(axis=1)
    return within_a.sums / (n * (n - 1)) + within_b.sums / (m * (m - 1)) - 2.0 * between.sums / (n * m)


def kernel_mmd2(a: Features, b: Features, *, block_rows: int = BLOCK_ROWS) -> float:
    """The unbiased squared discrepancy of two full sets [N, F] and [M, F]; may be slightly negative.

    Raises:
        DataError: widths differ, or a set with fewer than two rows.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise DataError(f"KID: wanted [N, F] and [M, F], got {list(a.shape)} and {list(b.shape)}")
    if min(len(a), len(b)) < 2:
        raise DataError(f"KID needs at least 2 images in each set, got {len(a)} and {len(b)}")
    first, second = a.astype(np.float64), b.astype(np.float64)
    all_a, all_b = np.ones((1, len(a))), np.ones((1, len(b)))
    width = a.shape[1]
    sums = KernelSums(width, all_a, all_a), KernelSums(width, all_b, all_b), KernelSums(width, all_a, all_b)
    pairs = ((first, first), (second, second), (first, second))
    for (one, other), measure in zip(pairs, sums, strict=True):
        sweep(one, other, [measure], block_rows)
    return float(discrepancies(*sums)[0])


def kernel_distance(
    a: Features, b: Features, *, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> KernelDistance:
    """KID as published: the mean of ``kernel_mmd2`` over random subsets of equal size.

    Subsets are cut to the smaller set; ``kernel_mmd2`` on the full sets has less variance and the same mean.
    """
    size = min(subset_size, len(a), len(b))
    rng = np.random.default_rng(seed)
    draws = [
        kernel_mmd2(a[rng.choice(len(a), size, replace=False)], b[rng.choice(len(b), size, replace=False)])
        for _ in range(subsets)
    ]
    return KernelDistance(float(np.mean(draws)), float(np.std(draws)), subsets, size)
