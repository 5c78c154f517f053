"""Measurement of images for the table ``measurements``: features, class probabilities, attributes.

Attributes are those that image analysis measures, and those that the attribute judge recognizes, where there is one.

sets    reference      real training images          features, pixels
        held_out       real images not trained on    features, probabilities, attributes, pixels
        reconstructed  the same through f_E and f_D  features, attributes
        generated      the model's images            features, probabilities, attributes, pixels
        planted        copies of training images     features, pixels
        untrained      the network before training   features
        class_mean     class means with noise        features
"""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vapray.captioning.measured.dermoscopy import measure_dermoscopy
from vapray.captioning.prompt_set import Detail
from vapray.config import Config
from vapray.config.captioning import MEASURED_MODALITY
from vapray.errors import DataError
from vapray.evaluation.attribute_judge import AttributeJudge, Specs, read_judge
from vapray.evaluation.classifier import Classifier, read_classifier
from vapray.evaluation.extractors.extractor import FeatureExtractor, FeatureSpace
from vapray.evaluation.set_metrics import FeatureSet
from vapray.memorisation.views import cores, thumbnails
from vapray.store.tables import pack, unpack
from vapray.store.version import Version

__all__ = [
    "CLASSIFIER", "IMAGE_SETS", "JUDGE", "ImageMeasurer", "feature_set", "preparation", "probabilities_of",
    "stack_features", "stored_classifier", "stored_judge",
]  # fmt: skip

CLASSIFIER = "classifier.safetensors"
"""File name in ``reference_measurements``; the manifest's notes hold its ``classifier_sha256``."""
JUDGE = "judge.safetensors"
"""The same for the attribute judge, with ``judge_sha256``."""

IMAGE_SETS = ("reference", "held_out", "reconstructed", "generated", "planted", "untrained", "class_mean")
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
WITH_ATTRIBUTES = ("held_out", "reconstructed", "generated")
WITH_PIXELS = ("held_out", "generated", "planted")


class ImageMeasurer:
    """Measures images of every set in the same way.

    Args:
        extractor: Feature extractor.
        classifier: Classifier trained on real training images.
        modality: Modality of the images; attributes are measured in dermoscopy only.
        judge: Attribute judge; None: nothing is judged.
        detail: Which attributes are measured, as in ``caption.detail``.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        classifier: Classifier,
        modality: str,
        judge: AttributeJudge | None = None,
        detail: Detail = "plain",
    ) -> None:
        self._extractor, self._classifier, self._modality = extractor, classifier, modality
        self._judge, self._detail = judge, detail

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
        judged = self._judged(images) if name in WITH_ATTRIBUTES and self._judge else nothing
        pixels = _pixels(name, images)
        return [
            {
                "key": f"{KEY_PREFIX[name]}/{ids[i]}",
                "set": name,
                "label": labels[i],
                "features": pack(features[i]),
                "probabilities": pack(probabilities[i]) if name in WITH_PROBABILITIES else None,
                "attributes": attributes[i],
                "judged": judged[i],
                "pixels": None if pixels is None else pack(pixels[i]),
            }
            for i in range(len(ids))
        ]

    def _attributes(self, image: NDArray[np.uint8]) -> str | None:
        if self._modality != MEASURED_MODALITY:
            return None
        return json.dumps(measure_dermoscopy(image, self._detail))

    def _judged(self, images: NDArray[np.uint8]) -> list[str]:
        assert self._judge is not None
        return [json.dumps(found) for found in self._judge.attributes(images)]


def _pixels(name: str, images: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Pixels for the copy search: one view of each training image, a thumbnail of each image that is looked up."""
    if name == "reference":
        return cores(thumbnails(images))
    return thumbnails(images) if name in WITH_PIXELS else None


def stack_features(rows: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    """Stack the features [N, F] of rows from :class:`ImageMeasurer`."""
    return np.stack([unpack(row["features"], "float32", -1) for row in rows]).astype(np.float64)


def probabilities_of(rows: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    """Stack the class probabilities [N, K] of rows from :class:`ImageMeasurer`."""
    return np.stack([unpack(row["probabilities"], "float32", -1) for row in rows]).astype(np.float64)


def preparation(config: Config) -> str:
    """Describe decoding and cropping of the images, equal for all sets that may be compared."""
    return f"centred square, {config.data.image_size} pixels"


def feature_set(rows: Sequence[dict[str, Any]], space: FeatureSpace, config: Config) -> FeatureSet:
    """Build a feature set from rows with the columns label and features; it may be empty."""
    features = stack_features(rows) if rows else np.zeros((0, space.width))
    return FeatureSet(features, np.array([row["label"] for row in rows], dtype=np.int64), space, preparation(config))


def stored_classifier(version: Version, num_classes: int, image_size: int) -> Classifier | None:
    """Load the classifier of a version of ``reference_measurements``.

    Returns:
        The classifier; None if its file is missing, damaged or not the sealed one.

    Raises:
        DataError: the manifest is damaged.
    """
    if data := _sealed_file(version, CLASSIFIER, "classifier_sha256"):
        with contextlib.suppress(DataError):
            return read_classifier(data, num_classes, (image_size, image_size))
    return None


def stored_judge(version: Version, specs: Specs) -> AttributeJudge | None:
    """Load the attribute judge of a version of ``reference_measurements``, as :func:`stored_classifier` does."""
    if data := _sealed_file(version, JUDGE, "judge_sha256"):
        with contextlib.suppress(DataError):
            return read_judge(data, specs)
    return None


def _sealed_file(version: Version, name: str, note: str) -> bytes | None:
    """Read a file; None if it is missing, or not the one whose sha256 is in the manifest's ``note``."""
    data, manifest = version.files.read(f"{version.folder}/files/{name}"), version.manifest()
    if data is None or (manifest and hashlib.sha256(data).hexdigest() != manifest.notes.get(note)):
        return None
    return data
