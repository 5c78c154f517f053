"""Trained network as a feature extractor: batches, device and checked weights."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vapray.errors import BackendError, ConfigError
from vapray.evaluation.extractors.extractor import FeatureSpace, as_bytes
from vapray.pretrained.model_files import sha256_of

__all__ = [
    "IMAGENET_DEVIATION", "IMAGENET_MEAN", "NetworkExtractor", "load_weights", "normalize", "require_device",
    "sha256_with",
]  # fmt: skip

IMAGES_OF_A_BATCH = 32
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class NetworkExtractor:
    """Feature extractor that runs images through a network in batches.

    Args:
        space: Feature space.
        forward: Maps planes uint8 [B, 3, H, W] on ``device`` to features [B, F]; includes resizing and normalization.
        device: Torch device name of the network.
    """

    def __init__(self, space: FeatureSpace, forward: Callable[[Tensor], Tensor], device: str) -> None:
        self.space, self._forward, self._device = space, forward, device

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute features float32 [B, F] of RGB images uint8 [B, H, W, 3]."""
        batches = as_bytes(images).split(IMAGES_OF_A_BATCH) if len(images) else ()
        parts = [self._forward(batch.to(self._device)).float().cpu() for batch in batches]
        return torch.cat([torch.zeros(0, self.space.width), *parts]).numpy()


def normalize(planes_B3HW: Tensor, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Tensor:
    """Normalize planes in -1..1 by the mean and standard deviation of a network's training data in 0..1."""
    shift = planes_B3HW.new_tensor(mean).view(3, 1, 1)
    return ((planes_B3HW + 1) / 2 - shift) / planes_B3HW.new_tensor(deviation).view(3, 1, 1)


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], where: str, device: str) -> nn.Module:
    """Load weights into a network, which may be on the meta device, and move it to ``device`` in evaluation mode.

    Args:
        network: Network to fill.
        weights: Weights by name, in any floating-point type.
        where: The setting and its value, for errors.
        device: Torch device name.

    Raises:
        ConfigError: weights are missing, unknown or of another shape.
        BackendError: the device is missing.
    """
    wanted = {name: weight.shape for name, weight in network.state_dict().items()}
    found = {name: weight.shape for name, weight in weights.items()}
    if wrong := sorted(name for name in wanted | found if wanted.get(name) != found.get(name)):
        raise ConfigError(
            f"{where}: not the weights of this network: {len(wrong)} are missing, unknown or of another shape "
            f"({', '.join(wrong[:3])}{', ...' if wrong[3:] else ''}). Fix: give the file of the network that "
            "evaluate.features names."
        )
    require_device(device)
    floats = {name: weight.float() if weight.is_floating_point() else weight for name, weight in weights.items()}
    network.load_state_dict(floats, assign=True)
    return network.eval().requires_grad_(False).to(device)


def sha256_with(description: str, files: Iterable[Path]) -> str:
    """Hash weight files together with a description of their use."""
    return hashlib.sha256(f"{description}, {sha256_of(files)}".encode()).hexdigest()


def require_device(device: str) -> None:
    """Check that a device is on this machine.

    Raises:
        BackendError: the device is missing.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise BackendError(
            f"device {device!r} is not on this machine ({str(error).splitlines()[0]}). Fix: use "
            "the CPU with pools.evaluate.num_gpus=0."
        ) from None
