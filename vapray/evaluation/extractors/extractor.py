"""What turns pictures into feature vectors: the protocol, and how pictures become planes."""

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
    """Where the vectors of an extractor live; two sets may be compared only if name, sha256 and resize agree."""

    name: str
    """What a reader sees beside every number."""
    sha256: str
    """Of the weights and the layer description, so that numbers of different extractors never mix."""
    width: int
    """F, the length of a feature vector."""
    resize: int
    """Side in pixels that every picture is resized to."""
    standardised: bool = True
    """Sets are compared in units of the reference's deviations. False: as they are, as published numbers are."""
    class_weights: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
    """[K, F] of the linear classifier behind the features, which the Inception Score is of; None: there is none."""

    def probabilities(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float64] | None:
        """[N, K] of features [N, F] by that classifier, rows that sum to 1; None where there is none."""
        if self.class_weights is None:
            return None
        return scipy.special.softmax(features.astype(np.float64) @ self.class_weights.T.astype(np.float64), axis=1)


class FeatureExtractor(Protocol):
    """Turns pictures into vectors."""

    space: FeatureSpace

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.floating[Any]]:
        """Features [B, F] of RGB images [B, H, W, 3]."""


def as_bytes(images: NDArray[np.uint8]) -> Tensor:
    """RGB uint8 [B, H, W, 3] to uint8 [B, 3, H, W].

    Raises:
        DataError: another shape or type, which would be read as something it is not.
    """
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise DataError(f"images: wanted uint8 [B, H, W, 3], got {images.dtype} {list(images.shape)}")
    return torch.tensor(images).permute(0, 3, 1, 2)


def to_planes(bytes_B3HW: Tensor, resize: int, mode: str = "bilinear") -> Tensor:
    """Planes uint8 [B, 3, H, W] to float32 [B, 3, resize, resize] in -1..1, antialiased.

    Args:
        bytes_B3HW: the pictures.
        resize: side in pixels.
        mode: ``bilinear`` or ``bicubic``; what the latter overshoots is cut.
    """
    planes = bytes_B3HW.float().div_(127.5).sub_(1.0)
    if planes.shape[-2:] == (resize, resize):
        return planes
    return functional.interpolate(planes, size=(resize, resize), mode=mode, antialias=True).clamp_(-1.0, 1.0)


def as_planes(images: NDArray[np.uint8], resize: int) -> Tensor:
    """RGB uint8 [B, H, W, 3] to float32 [B, 3, resize, resize] in -1..1, antialiased bilinear.

    Raises:
        DataError: another shape or type.
    """
    return to_planes(as_bytes(images), resize)
