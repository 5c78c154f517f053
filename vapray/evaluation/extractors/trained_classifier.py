"""Label classifier as a feature extractor: the input of its last layer.

It was trained on the run's real images, so its distances reflect features that separate their classes, and can be
compared within one run only. Images are not resized; they must have the side that it was trained at.
"""

import copy
import hashlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vapray.errors import DataError
from vapray.evaluation.classifier import FEATURES, LABEL, Classifier
from vapray.evaluation.extractors.extractor import FeatureSpace
from vapray.pretrained.network_weights import require_device

__all__ = ["penultimate_layer"]


class _PenultimateLayer:
    def __init__(self, classifier: Classifier, device: str) -> None:
        network = copy.deepcopy(classifier.network).to(device)
        self._classifier = replace(classifier, network=network, device=device)
        digest = hashlib.sha256(classifier.to_safetensors()).hexdigest()
        self.space = FeatureSpace(f"{LABEL}, before its last layer", digest, FEATURES, max(classifier.image_size))

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute features float32 [B, 256] of RGB images uint8 [B, H, W, 3]."""
        if not len(images):
            return np.zeros((0, self.space.width), np.float32)
        return self._classifier.features(images)


def penultimate_layer(classifier: Classifier | None = None, device: str = "cpu") -> _PenultimateLayer:
    """Build the extractor of a trained classifier.

    Args:
        classifier: Trained classifier.
        device: Torch device name.

    Raises:
        DataError: ``classifier`` is None.
        BackendError: the device is missing.
    """
    if classifier is None:
        raise DataError(
            "evaluate.features = classifier: this run has no classifier yet. Fix: run `python -m jobs.evaluate`, which "
            "trains one, or choose other features."
        )
    require_device(device)
    return _PenultimateLayer(classifier, device)
