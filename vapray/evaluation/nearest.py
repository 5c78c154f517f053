"""The training picture nearest to a generated one: is it new, or a copy?

Held-out real pictures are the yardstick: they were not trained on, so their distance to the training pictures is
what a new picture of the same kind has.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vapray.evaluation.comparison import FeatureSet, standardised

__all__ = ["Nearest", "held_out_distance", "nearest_training"]

MOST = 600
"""Pictures that are looked up in each set, so that the cost grows with the training set alone."""
BLOCK = 64
"""Pictures that are looked up in one product of matrices: what it takes is this times the training set."""
NEAR = 0.05
"""The nearest share of held-out pictures sets the distance below which a picture counts as near."""


@dataclass(frozen=True)
class Nearest:
    """Generated pictures and the training pictures they are nearest to, in the extractor's features."""

    neighbours: Mapping[str, tuple[str, float]]
    """Key of a generated picture -> key of the nearest training picture, and its distance over ``held_out``."""
    held_out: float
    """Median distance of held-out real pictures to their nearest training picture."""
    generated: float
    """The same of generated pictures."""
    share_near: float
    """Share of generated pictures nearer than the nearest ``NEAR`` of held-out ones: that share if all are new."""

    @property
    def relative(self) -> float:
        """``generated`` over ``held_out``; NaN where held-out pictures are copies of training pictures."""
        return self.generated / self.held_out if self.held_out else math.nan


def nearest_training(
    reference: FeatureSet,
    held_out: FeatureSet,
    generated: FeatureSet,
    reference_keys: Sequence[str],
    generated_keys: Sequence[str],
) -> Nearest:
    """Look up the first pictures of each class; features are standardised on the reference.

    Raises:
        DataError: the sets were prepared differently.
    """
    asked = _first_of_each_class(generated.labels)
    real, made = standardised(reference, generated)
    at, distance = _nearest(real, made[asked])
    usual = _usual_distances(reference, held_out)
    median = float(np.median(usual))
    relative = distance / median if median else distance
    return Nearest(
        {
            generated_keys[row]: (reference_keys[place], float(far))
            for row, place, far in zip(asked, at, relative, strict=True)
        },
        median,
        float(np.median(distance)),
        float((distance < np.quantile(usual, NEAR)).mean()),
    )


def held_out_distance(reference: FeatureSet, held_out: FeatureSet) -> float:
    """Median distance of held-out real pictures to their nearest training picture.

    Raises:
        DataError: the sets were prepared differently.
    """
    return float(np.median(_usual_distances(reference, held_out)))


def _usual_distances(reference: FeatureSet, held_out: FeatureSet) -> NDArray[np.float64]:
    real, unseen = standardised(reference, held_out)
    return _nearest(real, unseen[_first_of_each_class(held_out.labels)])[1]


def _first_of_each_class(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of at most ``MOST`` pictures, as many of each class as it has and may."""
    classes = np.unique(labels)
    return np.concatenate([np.flatnonzero(labels == label)[: max(1, MOST // len(classes))] for label in classes])


def _nearest(real: NDArray[np.float64], asked: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Row of ``real`` nearest to each row asked for, and its distance."""
    lengths = (real**2).sum(axis=1)
    blocks = np.array_split(asked, 1 + len(asked) // BLOCK)
    rows = np.concatenate([(lengths - 2 * block @ real.T).argmin(axis=1) for block in blocks])
    return rows, np.sqrt(((real[rows] - asked) ** 2).sum(axis=1))
