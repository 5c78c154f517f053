"""Incremental measurement of a set of images, with the metrics of the stage ``evaluate``."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vapray.errors import DataError
from vapray.evaluation.service.reference import ReferenceStatistics
from vapray.evaluation.set_metrics import FeatureSet, compare_sets, fid_of_sets, kid_of_sets, size_warnings
from vapray.metrics.inception import inception_score
from vapray.metrics.intervals import Interval

__all__ = ["SetMeasurement"]

SPLITS = 10
"""Number of splits of the Inception Score, and so its minimum number of images."""

Number = dict[str, float | None]


class SetMeasurement:
    """Measurement of a set of images; keeps their features only.

    Args:
        reference: Reference statistics.
        name: Name of the set in warnings, such as ``generated``.
    """

    def __init__(self, reference: ReferenceStatistics, name: str) -> None:
        self._reference, self._name = reference, name
        self._features: list[NDArray[np.float32]] = []
        self._probabilities: list[NDArray[np.float32]] = []

    @property
    def count(self) -> int:
        """Number of images added so far."""
        return sum(map(len, self._features))

    def add(self, pictures: NDArray[np.uint8]) -> None:
        """Add images uint8 [B, S, S, 3] of the model's size.

        Raises:
            DataError: shape or type differ.
        """
        side = self._reference.image_size
        if pictures.shape[1:] != (side, side, 3):
            raise DataError(f"images: expected [B, {side}, {side}, 3], got {list(pictures.shape)}")
        # Rounded to float32 as in the table `measurements`, so that both give the same numbers.
        self._features.append(np.asarray(self._reference.extractor(pictures), dtype=np.float32))
        if self._reference.classifier:
            self._probabilities.append(self._reference.classifier.probabilities(pictures).astype(np.float32))

    def results(self) -> dict[str, Any]:
        """Compute the metrics, as JSON values.

        Returns:
            ``fid``, ``kid``, ``precision``, ``recall`` and ``inception_score``: {value, low, high}, or None if the set
            is too small or a classifier is missing; low and high are the 95 % interval, or None. Also ``n``,
            ``n_reference``, ``features``, ``features_sha256`` and ``warnings``.

        Raises:
            DataError: fewer than two images were added.
        """
        if self.count < 2:
            raise DataError(f"got {self.count} images, expected at least 2 for a distance between sets.")
        reference = self._reference
        made = reference.feature_set(np.concatenate(self._features).astype(np.float64))
        return {
            **self._distances(made),
            "inception_score": self._inception_score(made),
            "n": self.count,
            "n_reference": len(reference.keys),
            "features": reference.extractor.space.name,
            "features_sha256": reference.extractor.space.sha256,
            "warnings": self._warnings(),
        }

    def _distances(self, made: FeatureSet) -> dict[str, Number | None]:
        reference, settings = self._reference.reference, self._reference.config.evaluate
        if not self._has_neighbourhoods:
            fid, kid = fid_of_sets(reference, made), kid_of_sets(reference, made)
            return {"fid": _number(fid), "kid": _number(kid), "precision": None, "recall": None}
        seed = self._reference.config.run.seed
        scores = compare_sets(reference, made, draws=settings.half_samples, k=settings.nearest_k, seed=seed)
        return {
            "fid": _number(scores.fid, scores.intervals["fid"]),
            "kid": _number(scores.kid, scores.intervals["kid"]),
            "precision": _number(scores.prdc.precision),
            "recall": _number(scores.prdc.recall),
        }

    @property
    def _has_neighbourhoods(self) -> bool:
        return min(self.count, len(self._reference.keys)) > self._reference.config.evaluate.nearest_k

    def _inception_score(self, made: FeatureSet) -> Number | None:
        probabilities = made.space.probabilities(made.features)
        if probabilities is None and self._probabilities:
            probabilities = np.concatenate(self._probabilities).astype(np.float64)
        if probabilities is None or self.count < SPLITS:
            return None
        return _number(inception_score(probabilities, splits=SPLITS, seed=self._reference.config.run.seed).mean)

    def _warnings(self) -> list[str]:
        reference, k = self._reference, self._reference.config.evaluate.nearest_k
        warnings = list(size_warnings(len(reference.keys), self.count, reference.extractor.space.width, self._name))
        if not self._has_neighbourhoods:
            warnings.append(f"precision, recall and the intervals need more than {k} images in each set.")
        if reference.classifier is None and reference.extractor.space.class_weights is None:
            warnings.append(
                "inception_score is not measured: the run has no classifier; its stage evaluate trains one."
            )
        elif self.count < SPLITS:
            warnings.append(f"inception_score needs at least {SPLITS} images.")
        return warnings


def _number(value: float, interval: Interval | None = None) -> Number:
    return {
        "value": value,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
    }
