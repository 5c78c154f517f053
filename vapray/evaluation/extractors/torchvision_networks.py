"""VGG16, SqueezeNet and DenseNet-121 as torchvision builds them, with weights from a file.

Images are resized to 224 pixels (DenseNet-121: to its training size if its file records it), antialiased bilinear, and
normalized by ``evaluate.preprocessing``.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vapray.config import Evaluate
from vapray.evaluation.extractors.extractor import FeatureSpace, to_planes
from vapray.evaluation.extractors.network_extractor import (
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    NetworkExtractor,
    sha256_with,
)
from vapray.evaluation.extractors.weight_files import find_weights
from vapray.pretrained.network_weights import fill_network
from vapray.pretrained.vision_towers import normalize
from vapray.pretrained.weights_file import metadata_of, read_weights

__all__ = ["torchvision_network"]

SIDE = 224
CAFFE_MEAN = (104.0, 117.0, 123.0)
"""Mean of blue, green and red in 0..255."""


def _vgg16(_: Mapping[str, Tensor]) -> tuple[str, nn.Module]:
    """Second fully connected layer after its ReLU. Source: Kynkäänniemi et al. (arXiv 1904.06991), section 3."""
    from torchvision.models import vgg16

    network = vgg16(weights=None)
    network.classifier = network.classifier[:5]
    return "VGG16 fc2", network


def _squeezenet(weights: Mapping[str, Tensor]) -> tuple[str, nn.Module]:
    """Spatial mean of the last fire module of SqueezeNet 1.0 or 1.1, by the weights."""
    from torchvision.models import squeezenet1_0, squeezenet1_1

    first = weights.get("features.0.weight")
    newer = first is not None and len(first) == 64
    network = (squeezenet1_1 if newer else squeezenet1_0)(weights=None)
    network.classifier = nn.AdaptiveAvgPool2d(1)
    return f"SqueezeNet 1.{int(newer)} pooled", network


def _densenet121(_: Mapping[str, Tensor]) -> tuple[str, nn.Module]:
    """Spatial mean of DenseNet-121, such as one of stage ``downstream``."""
    from torchvision.models import densenet121

    network = densenet121(weights=None)
    network.classifier = nn.Identity()
    return "DenseNet-121 pooled", network


# For each network: its builder, the number of features, and the prefix of the weights that are not used.
NETWORKS = {
    "vgg16": (_vgg16, 4096, "classifier.6."),
    "squeezenet": (_squeezenet, 512, "classifier."),
    "densenet121": (_densenet121, 1024, "classifier."),
}


def torchvision_network(settings: Evaluate, device: str = "cpu") -> NetworkExtractor:
    """Build the extractor of the network that ``evaluate.features`` names.

    Raises:
        ConfigError: the file is missing or of another network.
        CheckpointError: the file is damaged.
        BackendError: the device is missing.
    """
    build, width, unused = NETWORKS[settings.features]
    (path,) = find_weights(settings)
    read = read_weights("evaluate.weights", path)
    weights = {name: weight for name, weight in read.items() if not name.startswith(unused)}
    with torch.device("meta"):
        name, layers = build(weights)
    network = fill_network(layers, weights, f"evaluate.weights = {path}", "evaluate.features", device)
    seen = f"{name}, {settings.preprocessing} pixels"
    side = int(metadata_of(path).get("image_side", SIDE))
    space = FeatureSpace(seen, sha256_with(seen, [path]), width, side)
    prepare = _caffe if settings.preprocessing == "caffe" else _imagenet
    return NetworkExtractor(space, lambda images: network(prepare(to_planes(images, side))), device)


def _imagenet(planes_B3HW: Tensor) -> Tensor:
    return normalize(planes_B3HW, IMAGENET_MEAN, IMAGENET_DEVIATION)


def _caffe(planes_B3HW: Tensor) -> Tensor:
    mean = planes_B3HW.new_tensor(CAFFE_MEAN).view(3, 1, 1)
    return (planes_B3HW.flip(1) + 1) * 127.5 - mean
