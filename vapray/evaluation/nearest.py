"""Median distance to the nearest training image.

Held-out real images are the baseline: they were not trained on, so their distance to the training images is that of a
new image of the same kind. :mod:`vapray.evaluation.memorisation` finds single copies.
"""

import math

import numpy as np
from numpy.typing import NDArray

from vapray.evaluation.comparison import FeatureSet, standardised

__all__ = ["held_out_distance", "relative_distance"]

MOST = 600
"""Maximum number of images looked up in each set, so that the cost grows with the training set only."""
BLOCK = 64
"""Images looked up per matrix product, whose memory is this times the training set."""


def relative_distance(reference: FeatureSet, held_out: FeatureSet, generated: FeatureSet) -> float:
    """Median distance of generated images to their nearest training image, relative to that of held-out images.

    The first images of each class are looked up; features are standardized by the reference.

    Returns:
        The ratio; NaN if held-out images are copies of training images.

    Raises:
        DataError: the sets were prepared differently.
    """
    usual = held_out_distance(reference, held_out)
    return float(np.median(_distances(reference, generated))) / usual if usual else math.nan


def held_out_distance(reference: FeatureSet, held_out: FeatureSet) -> float:
    """Median distance of held-out real images to their nearest training image.

    Raises:
        DataError: the sets were prepared differently.
    """
    return float(np.median(_distances(reference, held_out)))


def _distances(reference: FeatureSet, asked: FeatureSet) -> NDArray[np.float64]:
    real, some = standardised(reference, asked)
    return _nearest(real, some[_first_of_each_class(asked.labels)])


def _first_of_each_class(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Select rows of at most ``MOST`` images, up to an equal share of each class."""
    classes = np.unique(labels)
    return np.concatenate([np.flatnonzero(labels == label)[: max(1, MOST // len(classes))] for label in classes])


def _nearest(real: NDArray[np.float64], asked: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each row of ``asked`` to the nearest row of ``real``."""
    lengths = (real**2).sum(axis=1)
    blocks = np.array_split(asked, 1 + len(asked) // BLOCK)
    rows = np.concatenate([(lengths - 2 * block @ real.T).argmin(axis=1) for block in blocks])
    return np.sqrt(((real[rows] - asked) ** 2).sum(axis=1))
