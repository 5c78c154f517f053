"""Image-set metrics on plain arrays: FID, KID, PRDC, PRD, Inception Score, confidence intervals.

Every function takes NumPy arrays of features [N, F] or probabilities [N, K]. None needs Ray, a store or a config. The
names below are imported on first use, since some of them need torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vapray.metrics.frechet import FeatureStatistics, frechet_distance
    from vapray.metrics.inception import InceptionScore, inception_score
    from vapray.metrics.intervals import Interval, bootstrap_interval
    from vapray.metrics.kid import KIDResult, kernel_inception_distance
    from vapray.metrics.prd import PRDScores, prd_scores
    from vapray.metrics.prdc import PRDCScores, prdc_scores

_MODULES = {
    "FeatureStatistics": "frechet",
    "InceptionScore": "inception",
    "Interval": "intervals",
    "KIDResult": "kid",
    "PRDCScores": "prdc",
    "PRDScores": "prd",
    "bootstrap_interval": "intervals",
    "frechet_distance": "frechet",
    "inception_score": "inception",
    "kernel_inception_distance": "kid",
    "prd_scores": "prd",
    "prdc_scores": "prdc",
}
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
    "kernel_inception_distance",
    "prd_scores",
    "prdc_scores",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"vapray.metrics.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'vapray.metrics' has no attribute {name!r}")
