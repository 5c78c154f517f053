"""Trained network as a feature extractor: batches, device and checked weights."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vapray.evaluation.extractors.extractor import FeatureSpace, as_bytes
from vapray.pretrained.model_files import sha256_of

__all__ = ["IMAGENET_DEVIATION", "IMAGENET_MEAN", "NetworkExtractor", "sha256_with"]

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


def sha256_with(description: str, files: Iterable[Path]) -> str:
    """Hash weight files together with a description of their use."""
    return hashlib.sha256(f"{description}, {sha256_of(files)}".encode()).hexdigest()
