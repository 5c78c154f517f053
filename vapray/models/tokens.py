"""Conversion of latents and diffusion steps to tokens: patches and back, and the sinusoid of a step."""

import math

import torch
from torch import Tensor

__all__ = ["patchify", "sinusoid", "unpatchify"]


def sinusoid(step_B: Tensor, width: int) -> Tensor:
    """Compute cosines, then sines, of a step at ``width / 2`` frequencies from 1 to 1/10,000; float32 [B, width]."""
    half = width // 2
    frequency = torch.exp(torch.arange(half, device=step_B.device) * (-math.log(10_000) / half))
    angle = step_B[:, None].float() * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


def patchify(image_BCHW: Tensor, patch_size: int) -> Tensor:
    """Convert [B, C, H, W] to [B, patches, C * patch_size**2], rows of patches first."""
    batch, channels, height, width = image_BCHW.shape
    rows, columns = height // patch_size, width // patch_size
    image = image_BCHW.reshape(batch, channels, rows, patch_size, columns, patch_size)
    return image.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * columns, channels * patch_size**2)


def unpatchify(patches_BLD: Tensor, patch_size: int, channels: int) -> Tensor:
    """Undo ``patchify`` for a square image."""
    side = math.isqrt(patches_BLD.shape[1])
    patches = patches_BLD.reshape(-1, side, side, channels, patch_size, patch_size)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(-1, channels, side * patch_size, side * patch_size)
