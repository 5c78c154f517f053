"""Protocol of feature extractors, and the conversion of images to planes."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import scipy.special
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vapray.errors import DataError

__all__ = ["FeatureExtractor", "FeatureSpace", "as_bytes", "as_planes", "to_planes"]


@dataclass(frozen=True)
class FeatureSpace:
    """Feature space of an extractor; two sets may be compared only if name, sha256 and resize agree."""

    name: str
    """Description of the features, shown next to every number."""
    sha256: str
    """SHA-256 of the weights and of the layer description, which keeps different extractors apart."""
    width: int
    """Length F of a feature vector."""
    resize: int
    """Side in pixels that every image is resized to."""
    standardized: bool = True
    """True if sets are standardized by the reference; False for unscaled features, as in published numbers."""
    class_weights: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
    """Weights [K, F] of the linear classifier on the features, for the Inception Score; None without one."""

    def probabilities(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float64] | None:
        """Class probabilities [N, K] of features [N, F] by that classifier; rows sum to 1. None without one."""
        if self.class_weights is None:
            return None
        return scipy.special.softmax(features.astype(np.float64) @ self.class_weights.T.astype(np.float64), axis=1)


class FeatureExtractor(Protocol):
    """Maps images to feature vectors."""

    space: FeatureSpace

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.floating[Any]]:
        """Compute features [B, F] of RGB images uint8 [B, H, W, 3]."""


def as_bytes(images: NDArray[np.uint8]) -> Tensor:
    """Convert RGB images uint8 [B, H, W, 3] to planes uint8 [B, 3, H, W].

    Raises:
        DataError: the shape or type differs.
    """
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise DataError(f"images: expected uint8 [B, H, W, 3], got {images.dtype} {list(images.shape)}")
    return torch.tensor(images).permute(0, 3, 1, 2)


def to_planes(bytes_B3HW: Tensor, resize: int, mode: str = "bilinear") -> Tensor:
    """Resize planes uint8 [B, 3, H, W] to float32 [B, 3, resize, resize] in -1..1, antialiased.

    Args:
        bytes_B3HW: Planes of the images.
        resize: Side in pixels.
        mode: ``bilinear`` or ``bicubic``; overshoot of the latter is clipped.
    """
    planes = bytes_B3HW.float().div_(127.5).sub_(1.0)
    if planes.shape[-2:] == (resize, resize):
        return planes
    return functional.interpolate(planes, size=(resize, resize), mode=mode, antialias=True).clamp_(-1.0, 1.0)


def as_planes(images: NDArray[np.uint8], resize: int) -> Tensor:
    """Convert RGB images uint8 [B, H, W, 3] to float32 [B, 3, resize, resize] in -1..1, antialiased bilinear.

    Raises:
        DataError: the shape or type differs.
    """
    return to_planes(as_bytes(images), resize)
