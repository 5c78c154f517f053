"""Conversion between images as NumPy uint8 [B, H, W, 3] and torch tensors in -1..1."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vapray.errors import DataError

__all__ = ["check_images", "require_latents", "to_model_range", "to_uint8"]


def to_model_range(images_BHWC: NDArray[np.uint8], device: torch.device | None = None) -> Tensor:
    """Convert uint8 [B, H, W, 3] to float32 [B, 3, H, W] in -1..1, on a device (None: the CPU), which gets bytes."""
    pictures = torch.from_numpy(np.array(images_BHWC)).to(device).permute(0, 3, 1, 2)
    return pictures.float().div(127.5).sub(1.0).contiguous()


def to_uint8(pixels_BCHW: Tensor) -> NDArray[np.uint8]:
    """Convert float [B, 3, H, W] in -1..1 to uint8 [B, H, W, 3], rounded and clipped."""
    scaled = pixels_BCHW.float().add(1.0).mul(127.5).round().clamp(0, 255)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def check_images(images: NDArray[np.uint8], factor: int) -> None:
    """Require uint8 [B, H, W, 3] with sides that ``factor`` divides.

    Raises:
        DataError: another type, shape or side; the message has the values received.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise DataError(f"images: {images.dtype} {images.shape}; expected uint8 [B, H, W, 3]")
    if images.shape[1] % factor or images.shape[2] % factor:
        raise DataError(f"images of {images.shape[1]} x {images.shape[2]}; expected multiples of {factor}")


def require_latents(latents: Tensor | NDArray[Any], channels: int) -> Tensor:
    """Require latents [B, C, h, w], and convert them to float32.

    Raises:
        DataError: another number of channels or axes.
    """
    tensor = torch.as_tensor(latents)
    if tensor.ndim != 4 or tensor.shape[1] != channels:
        raise DataError(f"latents: shape {tuple(tensor.shape)}; expected [B, {channels}, h, w]")
    return tensor.float()
