"""VGG16, SqueezeNet and DenseNet-121 as torchvision builds them, with weights from a file.

Images are resized to 224 pixels (DenseNet-121: to its training size if its file records it), antialiased bilinear, and
normalized by ``evaluate.pixels``.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from vapray.config import Evaluate
from vapray.evaluation.extractors.extractor import FeatureSpace, to_planes
from vapray.evaluation.extractors.network_extractor import (
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    NetworkExtractor,
    load_weights,
    normalize,
    sha256_with,
)
from vapray.evaluation.extractors.weight_files import find_weights
from vapray.pretrained.weights_file import metadata_of, read_weights

__all__ = ["densenet121", "squeezenet", "vgg16"]

SIDE = 224
CAFFE_MEAN = (104.0, 117.0, 123.0)
"""Mean of blue, green and red in 0..255."""


def vgg16(settings: Evaluate, device: str = "cpu") -> NetworkExtractor:
    """Build the extractor of VGG16's second fully connected layer after its ReLU, 4096 features.

    Raises:
        ConfigError: the file is missing or of another network.
        CheckpointError: the file is damaged.
        BackendError: the device is missing.

    Source: Kynkäänniemi et al. (arXiv 1904.06991), section 3.
    """

    def build(_: Mapping[str, Tensor]) -> tuple[str, nn.Module]:
        from torchvision.models import vgg16

        network = vgg16(weights=None)
        network.classifier = network.classifier[:5]
        return "VGG16 fc2", network

    return _extractor(settings, device, build, 4096, without=("classifier.6.",))


def squeezenet(settings: Evaluate, device: str = "cpu") -> NetworkExtractor:
    """Build the extractor of SqueezeNet 1.0 or 1.1 (by the file): spatial mean of the last fire module, 512 features.

    Raises:
        ConfigError: the file is missing or of another network.
        CheckpointError: the file is damaged.
        BackendError: the device is missing.
    """

    def build(weights: Mapping[str, Tensor]) -> tuple[str, nn.Module]:
        from torchvision.models import squeezenet1_0, squeezenet1_1

        first = weights.get("features.0.weight")
        newer = first is not None and len(first) == 64
        network = (squeezenet1_1 if newer else squeezenet1_0)(weights=None)
        network.classifier = nn.AdaptiveAvgPool2d(1)
        return f"SqueezeNet 1.{int(newer)} pooled", network

    return _extractor(settings, device, build, 512, without=("classifier.",))


def densenet121(settings: Evaluate, device: str = "cpu") -> NetworkExtractor:
    """Build the extractor of DenseNet-121, such as one of stage ``downstream``: spatial mean, 1024 features.

    Raises:
        ConfigError: the file is missing or of another network.
        CheckpointError: the file is damaged.
        BackendError: the device is missing.
    """

    def build(_: Mapping[str, Tensor]) -> tuple[str, nn.Module]:
        from torchvision.models import densenet121

        network = densenet121(weights=None)
        network.classifier = nn.Identity()
        return "DenseNet-121 pooled", network

    return _extractor(settings, device, build, 1024, without=("classifier.",))


def _extractor(
    settings: Evaluate,
    device: str,
    build: Callable[[Mapping[str, Tensor]], tuple[str, nn.Module]],
    width: int,
    without: tuple[str, ...],
) -> NetworkExtractor:
    (path,) = find_weights(settings)
    read = read_weights("evaluate.weights", path)
    weights = {name: weight for name, weight in read.items() if not name.startswith(without)}
    with torch.device("meta"):
        name, layers = build(weights)
    network = load_weights(layers, weights, f"evaluate.weights = {path}", device)
    seen = f"{name}, {settings.pixels} pixels"
    side = int(metadata_of(path).get("image_side", SIDE))
    space = FeatureSpace(seen, sha256_with(seen, [path]), width, side)
    prepare = _caffe if settings.pixels == "caffe" else _imagenet
    return NetworkExtractor(space, lambda pictures: network(prepare(to_planes(pictures, side))), device)


def _imagenet(planes_B3HW: Tensor) -> Tensor:
    return normalize(planes_B3HW, IMAGENET_MEAN, IMAGENET_DEVIATION)


def _caffe(planes_B3HW: Tensor) -> Tensor:
    mean = planes_B3HW.new_tensor(CAFFE_MEAN).view(3, 1, 1)
    return (planes_B3HW.flip(1) + 1) * 127.5 - mean
