"""Inception Score: sure about each picture, varied over all of them.

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
    """The exponential of the mean Kullback-Leibler divergence of p(class | image) from its split's mean.

    Args:
        probabilities: [N, K], rows that sum to 1. Of the Inception network for the published score; of
            ``classifier.train_classifier`` for the embedded default, which must be said beside the number.
        splits: parts that are scored apart.
        seed: of the order in which images go to splits; None keeps the given order.

    Raises:
        DataError: not a matrix of probabilities, or fewer images than splits.
    """
    rows = np.asarray(probabilities, dtype=np.float64)
    if rows.ndim != 2 or len(rows) < splits or splits < 1:
        raise DataError(f"inception score: wanted [N, K] with N >= {splits} splits, got {list(rows.shape)}")
    if not (rows >= 0).all() or not np.allclose(rows.sum(axis=1), 1.0, atol=1e-3):
        raise DataError("inception score: every row of probabilities must be >= 0 and sum to 1")
    if seed is not None:
        rows = rows[np.random.default_rng(seed).permutation(len(rows))]
    bounds = [i * len(rows) // splits for i in range(splits + 1)]
    parts = [rows[low:high] for low, high in pairwise(bounds)]
    scores = [np.exp(scipy.special.rel_entr(part, part.mean(axis=0)).sum(axis=1).mean()) for part in parts]
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)), splits)
