"""All pairs of rows of two sets, block by block: one product of matrices serves every measure of pairs.

Products may be float32, at twice the speed of float64. They are of rows about a common centre, where they lose the
fewest digits, and what a measure makes of them must not hang on their rounding: kernels take their large parts from
sums in float64, and neighbours look again at pairs that float32 cannot tell apart.
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
"""Rows of a block on either side: 9 MB, and enough that the product is nearly all the work."""


@dataclass(frozen=True)
class CentredRows:
    """A set of features about a centre that it may share with another set.

    Attributes:
        exact: float64 [N, F], what is left of each row.
        centre: float64 [F].
    """

    exact: NDArray[np.float64]
    centre: NDArray[np.float64]

    @classmethod
    def about(cls, centre: NDArray[np.float64], features: NDArray[np.floating[Any]]) -> "CentredRows":
        """Of ``features`` [N, F]."""
        return cls(features - centre, centre)

    def __len__(self) -> int:
        return len(self.exact)

    @property
    def width(self) -> int:
        """F."""
        return self.exact.shape[1]

    @cached_property
    def rounded(self) -> NDArray[np.float32]:
        """float32 [N, F]."""
        return self.exact.astype(np.float32)

    @cached_property
    def norms(self) -> NDArray[np.float64]:
        """[N], squared lengths."""
        return np.einsum("nf,nf->n", self.exact, self.exact)

    @cached_property
    def shifts(self) -> NDArray[np.float64]:
        """[N]: the product of two rows as they were is that of what is left of them, and both shifts."""
        return self.exact @ self.centre + self.centre @ self.centre / 2


@dataclass(frozen=True)
class Block:
    """Products of some rows of one set with some of the other."""

    rows: slice
    """Of the first set."""
    columns: slice
    """Rows of the second set."""
    products: Tensor
    """[R, C]."""
    own: bool
    """On the diagonal of a set with itself: rows meet themselves."""
    mirrored: bool
    """Off the diagonal of a set with itself: the block stands for its transpose too."""

    def cut(self, rows: int, columns: int) -> "Block | None":
        """What of it lies within the first ``rows`` and ``columns`` of the sets; None: nothing."""
        high, wide = min(self.rows.stop, rows), min(self.columns.stop, columns)
        if high <= self.rows.start or wide <= self.columns.start:
            return None
        products = self.products[: high - self.rows.start, : wide - self.columns.start]
        return Block(slice(self.rows.start, high), slice(self.columns.start, wide), products, self.own, self.mirrored)


class OfPairs(Protocol):
    """Something that is worked out from the products of all pairs."""

    def add(self, block: Block) -> None:
        """Take in a block; its products are shared and must not be changed."""


def sweep(
    a: CentredRows,
    b: CentredRows,
    measures: Sequence[OfPairs],
    block_rows: int = BLOCK_ROWS,
    *,
    exact: bool = False,
) -> None:
    """Show all products of rows of ``a`` [N, F] and ``b`` [M, F] to the measures.

    Where ``b`` is ``a``, blocks below the diagonal are left out: they are others' transposes.

    Args:
        a: the first set.
        b: the second one.
        measures: what is worked out.
        block_rows: rows and columns of the products held at once.
        exact: products in float64, not float32.
    """
    # torch's products: two libraries' threads, one waiting busily for work, would hold each other up.
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
            # Half of a block on the diagonal mirrors the other half: a quarter of its products can be left out.
            middle = (top + bottom + 1) // 2
            yield slice(top, middle), slice(top, middle)
            if middle < bottom:
                yield slice(top, middle), slice(middle, bottom)
                yield slice(middle, bottom), slice(middle, bottom)
        for left in range(bottom if same else 0, other, block_rows):
            yield slice(top, bottom), slice(left, min(left + block_rows, other))
