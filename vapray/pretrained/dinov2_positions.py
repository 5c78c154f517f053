"""Position embeddings of DINOv2 at another grid, as its authors' code resamples them.

The models without registers were published with bicubic resampling without antialiasing and a scale factor that is 0.1
patches too large; published features and distances have it. Those with registers are antialiased to the exact size, as
timm does for all. Source: facebookresearch/dinov2, ``interpolate_pos_encoding`` and ``dinov2/hub/backbones.py``.
"""

import math
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional

__all__ = ["resample_positions", "set_positions"]

OFFSET = 0.1
"""Addition to the number of patches along a side, in the scale factor alone."""


def resample_positions(positions_1LD: Tensor, grid: int) -> Tensor:
    """Resample position embeddings of a class token and M x M patches.

    Args:
        positions_1LD: [1, 1 + M * M, D].
        grid: Number of patches along a side afterwards.

    Returns:
        float32 [1, 1 + grid * grid, D]; the class token and, at M = grid, the patches are unchanged.
    """
    first, patches = positions_1LD[:, :1].float(), positions_1LD[:, 1:].float()
    side = math.isqrt(patches.shape[1])
    if side == grid:
        return torch.cat([first, patches], dim=1)
    square = patches.unflatten(1, (side, side)).permute(0, 3, 1, 2)
    factor = (grid + OFFSET) / side
    resampled = functional.interpolate(square, scale_factor=(factor, factor), mode="bicubic")
    return torch.cat([first, resampled.flatten(2).transpose(1, 2)], dim=1)


def set_positions(network: Any, weights: Path) -> None:
    """Replace the position embeddings of timm's DINOv2 without registers by those of its file, resampled to its grid.

    Args:
        network: ``VisionTransformer`` of timm on a square grid.
        weights: Its ``model.safetensors``.
    """
    if network.num_reg_tokens:
        return
    with safe_open(weights, "pt") as file:
        published = file.get_tensor("pos_embed")
    network.pos_embed.data.copy_(resample_positions(published, network.patch_embed.grid_size[0]))
