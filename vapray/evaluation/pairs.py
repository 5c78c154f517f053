"""All pairs of rows of two sets, block by block: one product of matrices serves every measure of pairs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK_ROWS", "Block", "OfPairs", "sweep"]

BLOCK_ROWS = 1536
"""Rows of a block on either side: 19 MB, and enough that the product is nearly all the work."""


@dataclass(frozen=True)
class Block:
    """Products of some rows of one set with some of the other."""

    rows: slice
    """Of the first set."""
    columns: slice
    """Rows of the second set."""
    products: NDArray[np.float64]
    """[R, C]."""
    mirrored: bool
    """Off the diagonal of a set with itself: the block stands for its transpose too."""

    def cut(self, rows: int, columns: int) -> "Block | None":
        """What of it lies within the first ``rows`` and ``columns`` of the sets; None: nothing."""
        high, wide = min(self.rows.stop, rows), min(self.columns.stop, columns)
        if high <= self.rows.start or wide <= self.columns.start:
            return None
        products = self.products[: high - self.rows.start, : wide - self.columns.start]
        return Block(slice(self.rows.start, high), slice(self.columns.start, wide), products, self.mirrored)


class OfPairs(Protocol):
    """Something that is worked out from the products of all pairs."""

    def add(self, block: Block) -> None:
        """Take in a block; its products are shared and must not be changed."""


def sweep(
    a: NDArray[np.float64], b: NDArray[np.float64], measures: Sequence[OfPairs], block_rows: int = BLOCK_ROWS
) -> None:
    """Show all products of rows of ``a`` [N, F] and ``b`` [M, F] to the measures.

    Where ``b`` is ``a``, blocks below the diagonal are left out: they are others' transposes.
    """
    for block in _blocks(a, b, block_rows):
        for measure in measures:
            measure.add(block)


def _blocks(a: NDArray[np.float64], b: NDArray[np.float64], block_rows: int) -> Iterator[Block]:
    same = a is b
    for top in range(0, len(a), block_rows):
        rows = slice(top, min(top + block_rows, len(a)))
        for left in range(top if same else 0, len(b), block_rows):
            columns = slice(left, min(left + block_rows, len(b)))
            yield Block(rows, columns, a[rows] @ b[columns].T, same and left > top)
