"""Classifier networks, with random weights or with weights of a file and a new last layer."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from vapray.errors import CheckpointError
from vapray.evaluation.classifier import small_network
from vapray.weights_file import read_weights

__all__ = ["MEAN", "STD", "build_network", "to_safetensors"]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet mean and standard deviation of RGB in 0..1; published weights expect inputs normalized by them."""
WINDOWS_OF_A_SIDE = 32
"""Windows per side. MaxViT-T at 224 pixels has windows of 7; other sides keep the number of windows and the shape."""


@dataclass(frozen=True)
class _Kind:
    build: Callable[[int, int], nn.Module]
    last_layer: str


def _densenet121(num_classes: int, side: int) -> nn.Module:
    from torchvision.models import densenet121

    return densenet121(weights=None, num_classes=num_classes)


def _maxvit(num_classes: int, side: int) -> nn.Module:
    """MaxViT-T (Tu et al., 2022), as torchvision's ``maxvit_t``, for any side that is a multiple of 32."""
    from torchvision.models.maxvit import MaxVit

    return MaxVit(
        input_size=(side, side),
        stem_channels=64,
        partition_size=side // WINDOWS_OF_A_SIDE,
        block_channels=[64, 128, 256, 512],
        block_layers=[2, 2, 5, 2],
        head_dim=32,
        stochastic_depth_prob=0.2,
        num_classes=num_classes,
    )


def _small(num_classes: int, side: int) -> nn.Module:
    return small_network(num_classes)


_KINDS = {
    "densenet121": _Kind(_densenet121, "classifier."),
    "maxvit": _Kind(_maxvit, "classifier.5."),
    "small": _Kind(_small, "11."),
}


def build_network(name: str, num_classes: int, side: int, weights: str | None = None) -> nn.Module:
    """Build a network on the CPU; random weights come from torch's global generator.

    Args:
        name: Name, as in ``downstream.networks``.
        num_classes: Number of classes K.
        side: Side S of its images, in pixels.
        weights: File of a state dict, ``.safetensors`` or pickled, whose last layer is ignored; None: random weights.

    Returns:
        Network that maps float32 [B, 3, S, S] to logits [B, K].

    Raises:
        ConfigError: the file does not exist.
        CheckpointError: the file cannot be read, or its weights are of another network.
    """
    kind = _KINDS[name]
    network = kind.build(num_classes, side)
    if weights is not None:
        _fill(network, name, weights, read_weights(f"downstream.weights {name}", weights), kind.last_layer)
    return network


def to_safetensors(network: nn.Module, name: str, class_names: list[str], side: int) -> bytes:
    """Serialize the weights, with classes, image side and normalization in the file's metadata."""
    metadata = {
        "network": name,
        "class_names": json.dumps(class_names),
        "image_side": str(side),
        "mean": json.dumps(MEAN),
        "std": json.dumps(STD),
    }
    weights = {key: weight.cpu().contiguous() for key, weight in network.state_dict().items()}
    return save_safetensors(weights, metadata)


def _fill(network: nn.Module, name: str, path: str, found: Mapping[str, Tensor], last_layer: str) -> None:
    own = network.state_dict()
    wanted = {key: weight for key, weight in own.items() if not key.startswith(last_layer)}
    wrong = [key for key, weight in wanted.items() if key not in found or found[key].shape != weight.shape]
    if wrong:
        raise CheckpointError(
            f"downstream.weights {name} = {path}: {len(wrong)} of {len(wanted)} weights are missing or have another "
            f"shape, such as {wrong[0]}. Fix: give torchvision's weights of this network; those of MaxViT need "
            "downstream.image_side=224."
        )
    network.load_state_dict(own | {key: found[key] for key in wanted})
