"""KID: the squared maximum mean discrepancy under a cubic kernel, unbiased at any number of images.

Source: Binkowski et al., Demystifying MMD GANs (arXiv 1801.01401), section 4 and appendix D.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vapray.errors import DataError

Features = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class KernelDistance:
    """Mean and standard deviation of the discrepancy over random subsets."""

    mean: float
    deviation: float
    subsets: int
    subset_size: int


def _kernel_sum(a: Features, b: Features, block_rows: int) -> float:
    """Sum of k(x, y) = (x.y / F + 1)^3 over all pairs, never holding more than one block of the matrix."""
    gamma = 1.0 / a.shape[1]
    blocks = (a[i : i + block_rows] for i in range(0, len(a), block_rows))
    return float(sum(((block @ b.T * gamma + 1.0) ** 3).sum() for block in blocks))


def _kernel_trace(a: Features) -> float:
    return float(((np.einsum("nf,nf->n", a, a) / a.shape[1] + 1.0) ** 3).sum())


def kernel_mmd2(a: Features, b: Features, *, block_rows: int = 2048) -> float:
    """The unbiased squared discrepancy of two full sets [N, F] and [M, F]; may be slightly negative.

    Raises:
        DataError: widths differ, or a set with fewer than two rows.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise DataError(f"KID: wanted [N, F] and [M, F], got {list(a.shape)} and {list(b.shape)}")
    n, m = len(a), len(b)
    if min(n, m) < 2:
        raise DataError(f"KID needs at least 2 images in each set, got {n} and {m}")
    a, b = a.astype(np.float64), b.astype(np.float64)
    within_a = (_kernel_sum(a, a, block_rows) - _kernel_trace(a)) / (n * (n - 1))
    within_b = (_kernel_sum(b, b, block_rows) - _kernel_trace(b)) / (m * (m - 1))
    return within_a + within_b - 2.0 * _kernel_sum(a, b, block_rows) / (n * m)


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
