"""All pairs of rows of two sets, block by block: all pairwise metrics share one matrix product.

Products may be float32, at twice the speed of float64. Rows are centred, so that products lose the fewest digits. A
metric must not depend on their rounding: kernels compute their large terms by float64 sums, and neighbour metrics
recompute pairs that float32 cannot separate.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["BLOCK_ROWS", "Block", "CentredRows", "OfPairs", "sweep"]

BLOCK_ROWS = 1536
"""Rows of a block on either side: 9 MB, and large enough that the product is nearly all the work."""


@dataclass(frozen=True)
class CentredRows:
    """Features minus a centre, which may be shared with another set.

    Attributes:
        exact: Centred features, float64 [N, F].
        centre: The centre, float64 [F].
    """

    exact: NDArray[np.float64]
    centre: NDArray[np.float64]

    @classmethod
    def about(cls, centre: NDArray[np.float64], features: NDArray[np.floating[Any]]) -> "CentredRows":
        """Subtract ``centre`` [F] from ``features`` [N, F]."""
        return cls(features - centre, centre)

    def __len__(self) -> int:
        return len(self.exact)

    @property
    def width(self) -> int:
        """Number of features F."""
        return self.exact.shape[1]

    @cached_property
    def rounded(self) -> NDArray[np.float32]:
        """Centred features, float32 [N, F]."""
        return self.exact.astype(np.float32)

    @cached_property
    def norms(self) -> NDArray[np.float64]:
        """Squared lengths of the centred rows, [N]."""
        return np.einsum("nf,nf->n", self.exact, self.exact)

    @cached_property
    def shifts(self) -> NDArray[np.float64]:
        """Shifts [N]: the product of two original rows is the product of the centred rows plus both shifts."""
        return self.exact @ self.centre + self.centre @ self.centre / 2


@dataclass(frozen=True)
class Block:
    """Products of some rows of one set with some rows of the other."""

    rows: slice
    """Rows of the first set."""
    columns: slice
    """Rows of the second set."""
    products: Tensor
    """Products [R, C]."""
    own: bool
    """True on the diagonal of a set with itself: the block pairs rows with themselves."""
    mirrored: bool
    """True off the diagonal of a set with itself: the block also represents its transpose."""

    def cut(self, rows: int, columns: int) -> "Block | None":
        """Part of the block within the first ``rows`` and ``columns`` of the sets; None if it is empty."""
        high, wide = min(self.rows.stop, rows), min(self.columns.stop, columns)
        if high <= self.rows.start or wide <= self.columns.start:
            return None
        products = self.products[: high - self.rows.start, : wide - self.columns.start]
        return Block(slice(self.rows.start, high), slice(self.columns.start, wide), products, self.own, self.mirrored)


class OfPairs(Protocol):
    """Consumer of the products of all pairs."""

    def add(self, block: Block) -> None:
        """Add a block; its products are shared and must not be modified."""


def sweep(
    a: CentredRows,
    b: CentredRows,
    measures: Sequence[OfPairs],
    block_rows: int = BLOCK_ROWS,
    *,
    exact: bool = False,
) -> None:
    """Pass all products of rows of ``a`` and ``b`` to the measures.

    If ``b`` is ``a``, blocks below the diagonal are skipped: they are transposes of others.

    Args:
        a: First set, [N, F].
        b: Second set, [M, F].
        measures: Consumers of the products.
        block_rows: Rows and columns of the products held in memory at a time.
        exact: Compute products in float64 instead of float32.
    """
    # torch computes the products: the thread pools of two libraries would slow each other down.
    left, right = (torch.from_numpy(rows.exact if exact else rows.rounded) for rows in (a, b))
    for rows, columns in _places(len(a), len(b), block_rows, same=a is b):
        products = left[rows] @ right[columns].T
        own = a is b and rows == columns
        block = Block(rows, columns, products, own, mirrored=a is b and not own)
        for measure in measures:
            measure.add(block)


def _places(count: int, other: int, block_rows: int, *, same: bool) -> Iterator[tuple[slice, slice]]:
    for top in range(0, count, block_rows):
        bottom = min(top + block_rows, count)
        if same:
            # One half of a diagonal block mirrors the other: a quarter of its products can be skipped.
            middle = (top + bottom + 1) // 2
            yield slice(top, middle), slice(top, middle)
            if middle < bottom:
                yield slice(top, middle), slice(middle, bottom)
                yield slice(middle, bottom), slice(middle, bottom)
        for left in range(bottom if same else 0, other, block_rows):
            yield slice(top, bottom), slice(left, min(left + block_rows, other))
