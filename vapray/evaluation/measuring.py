"""Measurement of images for the table ``measurements``: features, class probabilities, attributes.

sets    reference      real training images          features, pixels
        held_out       real images not trained on    features, probabilities, pixels
        reconstructed  the same through f_E and f_D  features, attributes
        generated      the model's images            features, probabilities, attributes, pixels
        planted        copies of training images     features, pixels
        untrained      the network before training   features
        class_mean     class means with noise        features
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vapray.captioning.measured.dermoscopy import measure_dermoscopy
from vapray.config.captioning import MEASURED_MODALITY
from vapray.evaluation.classifier import Classifier
from vapray.evaluation.extractors.extractor import FeatureExtractor, FeatureSpace
from vapray.evaluation.memorisation.views import cores, thumbnails
from vapray.tables import pack, unpack

__all__ = ["CLASSIFIER", "SETS", "Examiner", "features_of", "probabilities_of"]

CLASSIFIER = "classifier.safetensors"
"""File name in ``references``; the manifest's notes hold its ``classifier_sha256``."""

SETS = ("reference", "held_out", "reconstructed", "generated", "planted", "untrained", "class_mean")
# The key names the source of an image, so that work on one source can be counted without its rows.
KEY_PREFIX = {
    "reference": "image",
    "held_out": "image",
    "reconstructed": "reconstructed",
    "generated": "sample",
    "planted": "planted",
    "untrained": "sample",
    "class_mean": "class_mean",
}
WITH_PROBABILITIES = ("held_out", "generated")
WITH_ATTRIBUTES = ("reconstructed", "generated")
WITH_PIXELS = ("held_out", "generated", "planted")


class Examiner:
    """Measures images of every set in the same way.

    Args:
        extractor: Feature extractor.
        classifier: Classifier trained on real training images.
        modality: Modality of the images; attributes are measured in dermoscopy only.
    """

    def __init__(self, extractor: FeatureExtractor, classifier: Classifier, modality: str) -> None:
        self._extractor, self._classifier, self._modality = extractor, classifier, modality

    @property
    def space(self) -> FeatureSpace:
        """Feature space of the extractor."""
        return self._extractor.space

    def rows(
        self, name: str, ids: Sequence[str], labels: Sequence[int], images: NDArray[np.uint8]
    ) -> list[dict[str, Any]]:
        """Measure images uint8 [B, H, W, 3] of the set ``name``; returns rows of ``measurements``."""
        if not ids:
            return []
        features = np.asarray(self._extractor(images), dtype=np.float32)
        nothing: list[Any] = [None] * len(ids)
        probabilities = self._classifier.probabilities(images).astype(np.float32)
        attributes = [self._attributes(image) for image in images] if name in WITH_ATTRIBUTES else nothing
        pixels = _pixels(name, images)
        return [
            {
                "key": f"{KEY_PREFIX[name]}/{ids[i]}",
                "set": name,
                "label": labels[i],
                "features": pack(features[i]),
                "probabilities": pack(probabilities[i]) if name in WITH_PROBABILITIES else None,
                "attributes": attributes[i],
                "pixels": None if pixels is None else pack(pixels[i]),
            }
            for i in range(len(ids))
        ]

    def _attributes(self, image: NDArray[np.uint8]) -> str | None:
        return json.dumps(measure_dermoscopy(image)) if self._modality == MEASURED_MODALITY else None


def _pixels(name: str, images: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Pixels for the copy search: one view of each training image, a thumbnail of each image that is looked up."""
    if name == "reference":
        return cores(thumbnails(images))
    return thumbnails(images) if name in WITH_PIXELS else None


def features_of(rows: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    """Stack the features [N, F] of rows from :class:`Examiner`."""
    return np.stack([unpack(row["features"], "float32", -1) for row in rows]).astype(np.float64)


def probabilities_of(rows: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    """Stack the class probabilities [N, K] of rows from :class:`Examiner`."""
    return np.stack([unpack(row["probabilities"], "float32", -1) for row in rows]).astype(np.float64)
