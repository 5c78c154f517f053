"""Reference statistics for set metrics: features of a run's real images, its extractor and its classifier."""

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vapray.config import Config
from vapray.errors import DataError
from vapray.evaluation.classifier import Classifier, read_classifier
from vapray.evaluation.extractors.extractor import FeatureExtractor, FeatureSpace
from vapray.evaluation.features import extractor_of
from vapray.evaluation.measurement import CLASSIFIER, stack_features
from vapray.evaluation.service.real_features import real_features
from vapray.evaluation.service.real_pictures import RealPictures
from vapray.evaluation.set_metrics import FeatureSet
from vapray.store.version import Version

__all__ = ["ReferenceStatistics"]


@dataclass(frozen=True)
class ReferenceStatistics:
    """Reference statistics of one model; immutable, so threads may share it."""

    reference: FeatureSet
    """Features of the training images."""
    held_out: FeatureSet
    """Features of real images that were not trained on."""
    keys: tuple[str, ...]
    """Keys of the training images, ``image/IMAGE_ID``."""
    extractor: FeatureExtractor
    classifier: Classifier | None
    """Classifier of the run's newest evaluation that has one."""
    config: Config
    """Complete config; sections ``data``, ``evaluate`` and ``run`` set preparation and comparison of images."""

    @classmethod
    def load(cls, real: RealPictures, config: Config, state: str, log: Callable[[str], None]) -> Self:
        """Load the features, or measure the real images, which may take minutes.

        Args:
            real: The real images.
            config: Config of the checkpoint.
            state: Folder or URI for measured features.
            log: Logs that images are measured.

        Raises:
            DataError: too many images cannot be read, there are fewer than two training images, or the features need
                a classifier that no evaluation has stored.
            ConfigError, CheckpointError, BackendError: problems of the extractor's weights; see ``extractor_of``.
        """
        classifier = _classifier(real, config)
        extractor = extractor_of(config.evaluate, classifier=classifier)
        rows = real_features(real, config, extractor, state, log)
        reference, held_out = (
            _feature_set(rows.filter(pc.equal(rows["set"], name)), extractor.space, config)
            for name in ("reference", "held_out")
        )
        if len(reference.labels) < 2:
            raise DataError(f"{real.images.uri}: {len(reference.labels)} training images, expected at least 2.")
        keys = rows.filter(pc.equal(rows["set"], "reference"))["key"].to_pylist()
        return cls(reference, held_out, tuple(keys), extractor, classifier, config)

    @property
    def image_size(self) -> int:
        """Side of all compared images, in pixels."""
        return self.config.data.image_size

    @property
    def label_prior(self) -> dict[int, int]:
        """Number of training images of each class."""
        return dict(sorted(Counter(self.reference.labels.tolist()).items()))

    def feature_set(self, features: NDArray[np.float64]) -> FeatureSet:
        """Wrap features [N, F] of images that were prepared in the same way; labels are set to 0."""
        return FeatureSet(
            features,
            np.zeros(len(features), dtype=np.int64),
            self.reference.space,
            self.reference.preparation,
        )


def _feature_set(rows: pa.Table, space: FeatureSpace, config: Config) -> FeatureSet:
    return FeatureSet(
        stack_features(rows.to_pylist()) if rows.num_rows else np.zeros((0, space.width)),
        rows["label"].to_numpy().astype(np.int64),
        space,
        f"centred square, {config.data.image_size} pixels",
    )


def _classifier(real: RealPictures, config: Config) -> Classifier | None:
    for version in real.references:
        if version.require_manifest().sections.get("data.image_size") == config.data.image_size:
            with contextlib.suppress(DataError):
                if found := _kept_classifier(version, len(real.class_names), config.data.image_size):
                    return found
    return None


def _kept_classifier(version: Version, num_classes: int, side: int) -> Classifier | None:
    data = version.files.read(f"{version.folder}/files/{CLASSIFIER}")
    if data is None or hashlib.sha256(data).hexdigest() != version.require_manifest().notes.get("classifier_sha256"):
        return None
    return read_classifier(data, num_classes, (side, side))
