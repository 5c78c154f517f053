"""Which rows a training step sees: a pure function of (seed, step), whatever the number of workers."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["SampleOrder"]


class SampleOrder:
    """The global batches of a run.

    Args:
        labels: [N], the class of each row.
        batch_size: rows of a global batch.
        seed: of the run.
        balance_classes: draw each row's class uniformly and then one of its rows, with replacement; otherwise every
            epoch is a permutation, and batches run across the seam between two epochs.
    """

    def __init__(self, labels: NDArray[np.integer], *, batch_size: int, seed: int, balance_classes: bool) -> None:
        self._count, self._batch_size, self._seed = len(labels), batch_size, seed
        self._members = [np.flatnonzero(labels == label) for label in np.unique(labels)] if balance_classes else None
        self._permutation = lru_cache(maxsize=2)(self._draw_permutation)

    def rows(self, step: int) -> NDArray[np.int64]:
        """Row numbers of the global batch of ``step`` (from 0), [batch_size]."""
        if self._members:
            return self._draw_balanced(step)
        positions = step * self._batch_size + np.arange(self._batch_size)
        epochs, places = np.divmod(positions, self._count)
        rows = [self._permutation(int(epoch))[place] for epoch, place in zip(epochs, places, strict=True)]
        return np.array(rows, dtype=np.int64)

    def _draw_permutation(self, epoch: int) -> NDArray[np.int64]:
        return _generator(self._seed, epoch).permutation(self._count)

    def _draw_balanced(self, step: int) -> NDArray[np.int64]:
        assert self._members is not None
        draws = _generator(self._seed, step).random((self._batch_size, 2))
        classes = (draws[:, 0] * len(self._members)).astype(np.int64)
        members = (self._members[label] for label in classes)
        return np.array([rows[int(draw * len(rows))] for rows, draw in zip(members, draws[:, 1], strict=True)])


def _generator(seed: int, counter: int) -> np.random.Generator:
    purpose = 4  # apart from the streams of vapray.diffusion.randomness
    return np.random.Generator(np.random.Philox(key=[seed, purpose], counter=[0, 0, 0, counter]))
