"""The classifier that judges labels as an extractor: what it saw before it decided.

It was trained on the run's own real pictures, so its distances ask what matters to their classes. They can be compared
within one run only. Pictures are not resized; they have to have the side that it was trained at.
"""

import copy
import hashlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vapray.errors import DataError
from vapray.evaluation.classifier import FEATURES, LABEL, Classifier
from vapray.evaluation.extractors.extractor import FeatureSpace
from vapray.evaluation.extractors.network_extractor import require_device

__all__ = ["penultimate_layer"]


class _PenultimateLayer:
    def __init__(self, classifier: Classifier, device: str) -> None:
        network = copy.deepcopy(classifier.network).to(device)
        self._classifier = replace(classifier, network=network, device=device)
        digest = hashlib.sha256(classifier.to_safetensors()).hexdigest()
        self.space = FeatureSpace(f"{LABEL}, before its last layer", digest, FEATURES, max(classifier.image_size))

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features float32 [B, 256] of RGB uint8 [B, H, W, 3]."""
        if not len(images):
            return np.zeros((0, self.space.width), np.float32)
        return self._classifier.features(images)


def penultimate_layer(classifier: Classifier | None = None, device: str = "cpu") -> _PenultimateLayer:
    """The classifier's features.

    Args:
        classifier: the trained one.
        device: of torch.

    Raises:
        DataError: there is none.
        BackendError: no such device.
    """
    if classifier is None:
        raise DataError(
            "evaluate.features = classifier: this run keeps no classifier yet. Run `python -m jobs.evaluate`, which "
            "trains one, or choose other features."
        )
    require_device(device)
    return _PenultimateLayer(classifier, device)
