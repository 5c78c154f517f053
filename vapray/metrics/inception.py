"""Inception Score: confidence for each image, and variety over all images.

Source: Salimans et al., Improved techniques for training GANs (arXiv 1606.03498), section 4.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.special
from numpy.typing import NDArray

from vapray.errors import DataError


@dataclass(frozen=True)
class InceptionScore:
    """Mean and standard deviation over splits; 1 is the floor, the number of classes the ceiling."""

    mean: float
    deviation: float
    splits: int


def inception_score(
    probabilities: NDArray[np.floating[Any]], *, splits: int = 10, seed: int | None = 0
) -> InceptionScore:
    """Compute the exponential of the mean Kullback-Leibler divergence of p(class | image) from its split's mean.

    Args:
        probabilities: Class probabilities [N, K]; rows sum to 1. The published score takes them from the Inception
            network; vapray takes them from its own label classifier by default, which must be reported with the score.
        splits: Number of parts that are scored separately.
        seed: Seed of the assignment of images to splits; None keeps the given order.

    Raises:
        DataError: ``probabilities`` is not a matrix of probabilities, or has fewer rows than splits.
    """
    rows = np.asarray(probabilities, dtype=np.float64)
    if rows.ndim != 2 or len(rows) < splits or splits < 1:
        raise DataError(f"inception score: expected [N, K] with N >= {splits} splits, got {list(rows.shape)}")
    if not (rows >= 0).all() or not np.allclose(rows.sum(axis=1), 1.0, atol=1e-3):
        raise DataError("inception score: every row of probabilities must be >= 0 and sum to 1")
    if seed is not None:
        rows = rows[np.random.default_rng(seed).permutation(len(rows))]
    bounds = [i * len(rows) // splits for i in range(splits + 1)]
    parts = [rows[low:high] for low, high in pairwise(bounds)]
    scores = [np.exp(scipy.special.rel_entr(part, part.mean(axis=0)).sum(axis=1).mean()) for part in parts]
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)), splits)
