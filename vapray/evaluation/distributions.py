"""Precision and recall of distributions (PRD): share of one set's mass that the other covers, over shared clusters.

Unlike :mod:`vapray.evaluation.neighbours` it measures the frequency of a kind of image, not only its presence.

Source: Sajjadi et al., Assessing generative models via precision and recall (arXiv 1806.00035), algorithm 1, section 4.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

from vapray.errors import DataError

__all__ = ["DistributionScores", "distribution_scores", "precision_recall_curve"]

Features = NDArray[np.floating[Any]]
BETA = 8.0


@dataclass(frozen=True)
class DistributionScores:
    """Summary of a PRD curve by two F-scores, as in Sajjadi et al.; 1 is the best."""

    f8: float
    """F-score that weighs recall eight times as much as precision: variety."""
    f1_8: float
    """F-score that weighs precision eight times as much as recall: fidelity."""
    clusters: int
    runs: int


def distribution_scores(
    real: Features, generated: Features, *, clusters: int = 20, runs: int = 10, angles: int = 1001, seed: int = 0
) -> DistributionScores:
    """Compute F8 and F1/8 over k-means clusters of both sets together.

    Args:
        real: Reference features [N, F].
        generated: Generated features [M, F].
        clusters: Number of k-means clusters.
        runs: Number of clusterings whose curves are averaged.
        angles: Number of points on a curve.
        seed: Seed of the clusterings, and of the subset of the larger set.

    Raises:
        DataError: widths differ, or there are fewer images than clusters.
    """
    if real.ndim != 2 or generated.ndim != 2 or real.shape[1] != generated.shape[1]:
        raise DataError(f"PRD: expected [N, F] and [M, F], got {list(real.shape)} and {list(generated.shape)}")
    count = min(len(real), len(generated))
    if count < clusters:
        raise DataError(f"PRD with {clusters} clusters needs as many images in each set, got {count}")
    rng = np.random.default_rng(seed)
    both = np.concatenate([rows[np.sort(rng.choice(len(rows), count, False))] for rows in (real, generated)])
    curves = []
    for _ in range(runs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # an empty cluster has no weight in either set
            _, owners = kmeans2(both.astype(np.float64), clusters, minit="++", rng=rng)
        shares = [np.bincount(part, minlength=clusters) / count for part in (owners[:count], owners[count:])]
        curves.append(precision_recall_curve(shares[0], shares[1], angles))
    precision, recall = np.mean(curves, axis=0)
    return DistributionScores(_best_f(precision, recall, BETA), _best_f(precision, recall, 1 / BETA), clusters, runs)


def precision_recall_curve(
    real: NDArray[np.float64], generated: NDArray[np.float64], angles: int = 1001
) -> NDArray[np.float64]:
    """Precision and recall [2, A] of two distributions over K bins, at A slopes tan(angle) between the axes."""
    margin = 1e-6
    slopes = np.tan(np.linspace(margin, np.pi / 2 - margin, angles))[:, None]
    precision = np.minimum(slopes * real, generated).sum(axis=1)
    return np.clip([precision, precision / slopes[:, 0]], 0.0, 1.0)


def _best_f(precision: NDArray[np.float64], recall: NDArray[np.float64], beta: float) -> float:
    weighed = beta**2 * precision + recall
    scores = (1 + beta**2) * precision * recall / np.where(weighed > 0, weighed, 1.0)
    return float(scores.max())
