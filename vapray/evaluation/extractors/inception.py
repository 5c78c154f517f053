"""Inception-v3 of the published FID, KID and Inception Score: torch-fidelity's network with the original weights.

The network itself resizes images to 299 pixels as TensorFlow 1 did (bilinear, not antialiased) and scales them to
(x - 128) / 128. Its logits for the Inception Score are its features times its last layer's weights, without bias, as in
torch-fidelity; so they are not stored.
"""

import io
from typing import Any

import torch
from torch import Tensor, nn

from vapray.config import Evaluate
from vapray.errors import ConfigError
from vapray.evaluation.extractors.extractor import FeatureSpace
from vapray.evaluation.extractors.network_extractor import NetworkExtractor, sha256_with
from vapray.evaluation.extractors.weight_files import inception_file, require_packages
from vapray.pretrained.network_weights import require_device
from vapray.pretrained.weights_file import read_weights

__all__ = ["inception_v3"]

SIDE, WIDTH = 299, 2048


def inception_v3(settings: Evaluate, device: str = "cpu") -> NetworkExtractor:
    """Build the extractor of the third pooling layer, 2048 features; downloads nothing.

    Raises:
        ConfigError: the file is missing or of another network.
        CheckpointError: the file is damaged.
        BackendError: torch-fidelity is not installed, the cache has no file, or the device is missing.
    """
    require_packages("inception_v3")
    path = inception_file(settings.weights)
    require_device(device)
    network = _network(read_weights("evaluate.weights", path), str(path)).to(device)
    name, logits = "Inception-v3 pool3", network.fc.weight.cpu().numpy()
    space = FeatureSpace(name, sha256_with(name, [path]), WIDTH, SIDE, standardized=False, class_weights=logits)
    return NetworkExtractor(space, lambda pictures: network(pictures)[0], device)


def _network(weights: dict[str, Tensor], where: str) -> Any:
    """Build ``FeatureExtractorInceptionV3``; it unpickles its input, so it gets only weights that were read safely."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    safe = io.BytesIO()
    torch.save(weights, safe)
    safe.seek(0)
    try:
        network: nn.Module = FeatureExtractorInceptionV3("inception_v3", [str(WIDTH)], safe)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"evaluate.weights = {where}: not the weights of torch-fidelity's Inception-v3 ({reason}...). "
            "Fix: give torch-fidelity's file; torchvision's Inception is another network."
        ) from None
    return network
