"""Image-set metrics on plain arrays: FID, KID, PRDC, PRD, Inception Score, confidence intervals.

Every function takes NumPy arrays of features [N, F] or probabilities [N, K]. None needs Ray, a store or a config.
"""

from vapray.metrics.frechet import FeatureStatistics, frechet_distance
from vapray.metrics.inception_score import InceptionScore, inception_score
from vapray.metrics.intervals import Interval, bootstrap_interval
from vapray.metrics.kid import KernelDistance, kernel_distance
from vapray.metrics.prd import DistributionScores, distribution_scores
from vapray.metrics.prdc import NeighbourScores, neighbour_scores

__all__ = [
    "DistributionScores",
    "FeatureStatistics",
    "InceptionScore",
    "Interval",
    "KernelDistance",
    "NeighbourScores",
    "bootstrap_interval",
    "distribution_scores",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "neighbour_scores",
]
