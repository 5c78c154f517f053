"""FID: the Fréchet distance between Gaussians fitted to two sets of features, in float64.

Source: Heusel et al., GANs trained by a two time-scale update rule (arXiv 1706.08500), equation 6.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from vapray.errors import DataError

__all__ = ["FeatureStatistics", "frechet_distance", "sum_of_singular_values"]

VISIBLE = 1e-9
"""Maximum tolerated relative error of the sum of singular values."""


@dataclass
class FeatureStatistics:
    """Count, mean and scatter of a stream of features; shards may be merged in any order.

    Source: Chan, Golub, LeVeque, Updating formulae and a pairwise algorithm for sample variances (1979).
    """

    count: int
    """Number of rows."""
    mean: NDArray[np.float64]
    """Mean, [F]."""
    scatter: NDArray[np.float64]
    """Sum of outer products of deviations from the mean, [F, F]."""

    @classmethod
    def empty(cls, width: int) -> "FeatureStatistics":
        """Statistics of zero rows of width F."""
        return cls(0, np.zeros(width), np.zeros((width, width)))

    @classmethod
    def of(cls, features: NDArray[np.floating[Any]]) -> "FeatureStatistics":
        """Compute the statistics of ``features`` [N, F].

        Raises:
            DataError: ``features`` is not a matrix, or a value is not finite.
        """
        if features.ndim != 2 or not np.isfinite(features).all():
            raise DataError(f"features: expected finite [N, F], got {list(features.shape)}, perhaps with NaN")
        if len(features) == 0:
            return cls.empty(features.shape[1])
        mean = features.mean(axis=0, dtype=np.float64)
        deviations = features - mean
        return cls(len(features), mean, deviations.T @ deviations)

    def update(self, batch: NDArray[np.floating[Any]]) -> None:
        """Add a batch [B, F], in place."""
        merged = self.merge(FeatureStatistics.of(batch))
        self.count, self.mean, self.scatter = merged.count, merged.mean, merged.scatter

    def merge(self, other: "FeatureStatistics") -> "FeatureStatistics":
        """Statistics of both sets together; the operands do not change.

        Raises:
            DataError: the widths differ.
        """
        if self.mean.shape != other.mean.shape:
            raise DataError(f"features of width {len(self.mean)} and {len(other.mean)} cannot be merged")
        count = self.count + other.count
        if count == 0:
            return FeatureStatistics.empty(len(self.mean))
        shift = other.mean - self.mean
        mean = self.mean + shift * (other.count / count)
        between = np.outer(shift, shift) * (self.count * other.count / count)
        return FeatureStatistics(count, mean, self.scatter + other.scatter + between)

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Unbiased covariance [F, F], divided by N - 1.

        Raises:
            DataError: there are fewer than two rows.
        """
        if self.count < 2:
            raise DataError(f"a covariance needs at least 2 images, got {self.count}")
        return self.scatter / (self.count - 1)

    @property
    def scale(self) -> NDArray[np.float64]:
        """Divisors [F] that give each feature of this set unit variance.

        A feature that is constant in this set, up to float32 rounding, has divisor 1.
        """
        deviation = np.sqrt(np.diag(self.covariance))
        return np.where(deviation > 1e-6 * np.maximum(1.0, np.abs(self.mean)), deviation, 1.0)

    def scaled(self, scale: NDArray[np.float64]) -> "FeatureStatistics":
        """Statistics of ``features / scale``; ``scale`` [F] is that of the reference, for both sets."""
        return FeatureStatistics(self.count, self.mean / scale, self.scatter / np.outer(scale, scale))


def _factor(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Factor L [F, R] with L L^T = covariance and numerical rank R."""
    lower, failed = scipy.linalg.lapack.dpotrf(covariance, lower=True, clean=True)
    pivots = np.diag(lower) ** 2
    if not failed and pivots.min() > pivots.max() * len(pivots) * np.finfo(np.float64).eps:
        return np.asarray(lower)
    values, vectors = scipy.linalg.eigh(covariance)
    kept = values > max(values[-1], 0.0) * len(values) * np.finfo(np.float64).eps
    factor: NDArray[np.float64] = vectors[:, kept] * np.sqrt(values[kept])
    return factor


def sum_of_singular_values(matrix: NDArray[np.float64]) -> float:
    """Nuclear norm of a matrix [F, G].

    Squared singular values are eigenvalues of the Gram matrix, which take a third of the time. The rounding error of
    small roots is estimated; if it could affect the sum, the singular values are computed directly.
    """
    if not matrix.size:
        return 0.0
    squares = scipy.linalg.eigvalsh(matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix)
    rounding = math.sqrt(len(squares)) * np.finfo(np.float64).eps * squares[-1]
    if squares[0] > rounding:
        values = np.sqrt(squares)
        if (rounding / values).sum() <= VISIBLE * values.sum():
            return float(values.sum())
    return float(scipy.linalg.svdvals(matrix).sum())


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """Compute ``|mean_a - mean_b|^2 + tr(S_a) + tr(S_b) - 2 tr (S_a S_b)^(1/2)``, clipped at 0.

    The last trace is the sum of singular values of L_a^T L_b with S = L L^T, which holds for singular
    covariances (fewer images than features) without the usual offset on the diagonal.

    Raises:
        DataError: widths differ, or a set has fewer than two rows.
    """
    if a.mean.shape != b.mean.shape:
        raise DataError(f"features of width {len(a.mean)} and {len(b.mean)} cannot be compared")
    cov_a, cov_b = a.covariance, b.covariance
    product = _factor(cov_a).T @ _factor(cov_b)
    cross = sum_of_singular_values(product)
    shift = a.mean - b.mean
    return max(0.0, float(shift @ shift + np.trace(cov_a) + np.trace(cov_b) - 2.0 * cross))
