"""Order of training rows: a pure function of (seed, step), independent of the number of workers."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vapray.diffusion.randomness import Purpose

__all__ = ["GlobalBatchSampler", "caption_permutation"]


class GlobalBatchSampler:
    """Global batches of a run.

    Args:
        labels: class of each row, [N].
        batch_size: number of rows of a global batch.
        seed: seed of the run.
        balance: above 0, draw each row's class with probability proportional to n^(1 - balance), for n rows of the
            class, and then one of its rows, with replacement; 1 is uniform. At 0 every epoch is a permutation, and a
            batch may extend over two epochs.
    """

    def __init__(self, labels: NDArray[np.integer], *, batch_size: int, seed: int, balance: float) -> None:
        self._count, self._batch_size, self._seed = len(labels), batch_size, seed
        self._classes = _Classes(labels, balance) if balance else None
        self._permutation = lru_cache(maxsize=2)(self._draw_permutation)

    def rows(self, step: int) -> NDArray[np.int64]:
        """Get the row numbers of the global batch of ``step`` (from 0), [batch_size]."""
        if self._classes:
            return self._classes.draw(_generator(self._seed, step).random((self._batch_size, 2)))
        first, last = step * self._batch_size, (step + 1) * self._batch_size
        epochs = range(first // self._count, (last - 1) // self._count + 1)
        return np.concatenate([self._stretch(epoch, first, last) for epoch in epochs])

    def _stretch(self, epoch: int, first: int, last: int) -> NDArray[np.int64]:
        """Get the rows of an epoch between two positions of the run."""
        begin = epoch * self._count
        return self._permutation(epoch)[max(first - begin, 0) : last - begin]

    def _draw_permutation(self, epoch: int) -> NDArray[np.int64]:
        return _generator(self._seed, epoch).permutation(self._count)


class _Classes:
    """Rows of each class, and the probability of each class."""

    def __init__(self, labels: NDArray[np.integer], balance: float) -> None:
        self._members = np.argsort(labels, kind="stable")
        _, self._begins, self._counts = np.unique(labels[self._members], return_index=True, return_counts=True)
        cumulative = np.cumsum(self._counts ** (1.0 - balance))
        self._upper_ends = cumulative / cumulative[-1]

    def draw(self, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
        """Draw classes by the first column of ``uniform`` [B, 2], and rows of those classes by the second."""
        classes = np.searchsorted(self._upper_ends, uniform[:, 0], side="right")
        return self._members[self._begins[classes] + (uniform[:, 1] * self._counts[classes]).astype(np.int64)]


def caption_permutation(labels: NDArray[np.integer], *, shuffled: float, seed: int) -> NDArray[np.int64]:
    """Choose for each row the row whose caption it is trained with, [N].

    Args:
        labels: class of each row, [N].
        shuffled: share of each class's rows that exchange captions with one another, none keeping its own; a class with
            fewer than two such rows keeps its captions.
        seed: seed of the run.

    Returns:
        Row numbers, int64 [N].
    """
    owners = np.arange(len(labels))
    shares = np.random.Generator(np.random.Philox(key=[seed, Purpose.CAPTION_OWNERS]))
    for label in np.unique(labels):
        members = shares.permutation(np.flatnonzero(labels == label))
        if (count := round(shuffled * len(members))) > 1:
            owners[members[:count]] = np.roll(members[:count], 1)
    return owners


def _generator(seed: int, counter: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, Purpose.ORDER], counter=[0, 0, 0, counter]))
