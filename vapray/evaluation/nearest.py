"""How far the nearest training picture usually is.

Held-out real pictures are the yardstick: they were not trained on, so their distance to the training pictures is
what a new picture of the same kind has. Single copies are found by :mod:`vapray.evaluation.memorisation`.
"""

import math

import numpy as np
from numpy.typing import NDArray

from vapray.evaluation.comparison import FeatureSet, standardised

__all__ = ["held_out_distance", "relative_distance"]

MOST = 600
"""Pictures that are looked up in each set, so that the cost grows with the training set alone."""
BLOCK = 64
"""Pictures that are looked up in one product of matrices: what it takes is this times the training set."""


def relative_distance(reference: FeatureSet, held_out: FeatureSet, generated: FeatureSet) -> float:
    """Median distance of generated pictures to their nearest training picture, over that of held-out ones.

    The first pictures of each class are looked up; features are standardised on the reference.

    Returns:
        NaN where held-out pictures are copies of training pictures.

    Raises:
        DataError: the sets were prepared differently.
    """
    usual = held_out_distance(reference, held_out)
    return float(np.median(_distances(reference, generated))) / usual if usual else math.nan


def held_out_distance(reference: FeatureSet, held_out: FeatureSet) -> float:
    """Median distance of held-out real pictures to their nearest training picture.

    Raises:
        DataError: the sets were prepared differently.
    """
    return float(np.median(_distances(reference, held_out)))


def _distances(reference: FeatureSet, asked: FeatureSet) -> NDArray[np.float64]:
    real, some = standardised(reference, asked)
    return _nearest(real, some[_first_of_each_class(asked.labels)])


def _first_of_each_class(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of at most ``MOST`` pictures, as many of each class as it has and may."""
    classes = np.unique(labels)
    return np.concatenate([np.flatnonzero(labels == label)[: max(1, MOST // len(classes))] for label in classes])


def _nearest(real: NDArray[np.float64], asked: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each row asked for to the nearest row of ``real``."""
    lengths = (real**2).sum(axis=1)
    blocks = np.array_split(asked, 1 + len(asked) // BLOCK)
    rows = np.concatenate([(lengths - 2 * block @ real.T).argmin(axis=1) for block in blocks])
    return np.sqrt(((real[rows] - asked) ** 2).sum(axis=1))
