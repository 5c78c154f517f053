"""Image-set metrics on plain arrays: FID, KID, PRDC, PRD, Inception Score, confidence intervals.

Every function takes NumPy arrays of features [N, F] or probabilities [N, K]. None needs Ray, a store or a config.
"""

from vapray.metrics.frechet import FeatureStatistics, frechet_distance
from vapray.metrics.inception_score import InceptionScore, inception_score
from vapray.metrics.intervals import Interval, bootstrap_interval
from vapray.metrics.kid import KIDResult, kid
from vapray.metrics.prd import PRDScores, prd_scores
from vapray.metrics.prdc import PRDCScores, prdc_scores

__all__ = [
    "FeatureStatistics",
    "InceptionScore",
    "Interval",
    "KIDResult",
    "PRDCScores",
    "PRDScores",
    "bootstrap_interval",
    "frechet_distance",
    "inception_score",
    "kid",
    "prd_scores",
    "prdc_scores",
]
