"""Distance of images to their nearest training image, on feature arrays."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["median_nearest_distance"]

MAX_QUERIES = 600
"""Maximum number of rows looked up, so that the cost grows with the reference only."""
BLOCK_ROWS = 64
"""Rows looked up per matrix product, whose memory is this times the reference."""


def median_nearest_distance(
    reference: NDArray[np.float64], queries: NDArray[np.float64], labels: NDArray[np.int64]
) -> float:
    """Median Euclidean distance of query rows to their nearest reference row.

    Args:
        reference: features [N, F].
        queries: features [M, F]; the first rows of each class are looked up, at most ``MAX_QUERIES``.
        labels: classes [M] of the queries.
    """
    return float(np.median(_nearest(reference, queries[_first_of_each_class(labels)])))


def _first_of_each_class(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Select at most ``MAX_QUERIES`` rows, up to an equal share of each class."""
    classes = np.unique(labels)
    return np.concatenate([np.flatnonzero(labels == label)[: max(1, MAX_QUERIES // len(classes))] for label in classes])


def _nearest(reference: NDArray[np.float64], queries: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each query row to its nearest reference row."""
    lengths = (reference**2).sum(axis=1)
    blocks = np.array_split(queries, 1 + len(queries) // BLOCK_ROWS)
    rows = np.concatenate([(lengths - 2 * block @ reference.T).argmin(axis=1) for block in blocks])
    return np.sqrt(((reference[rows] - queries) ** 2).sum(axis=1))
