"""Axial rotary position embedding (RoPE) of patch tokens.

Source: Su et al., "RoFormer" (arXiv 2104.09864); axial, with base 100 because a row or a column has few tokens: Heo et
al., "Rotary Position Embedding for Vision Transformer" (arXiv 2403.13298).
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["BASE", "axial_rotation", "rotate"]

BASE = 100.0


def axial_rotation(patches: int, others: int, head_width: int, device: torch.device) -> Tensor:
    """Compute the rotation of each token: by row and column for patches, none for the tokens before them.

    A head has p = ``head_width // 4`` pairs of values for the row and as many for the column; up to three values are
    left over. Pair i turns by ``BASE ** (-i / p)`` radians from one row or column to the next. Its values are i and
    2p + i of the head for the row, p + i and 3p + i for the column.

    Args:
        patches: number of patches, a square; rows of patches first.
        others: number of tokens before the patches (time, label, text).
        head_width: width F of a head.
        device: device of the result.

    Returns:
        Cosines, then signed sines [2, L, F], float32, with L = ``others`` + ``patches``.
    """
    pairs, side = head_width // 4, torch.arange(math.isqrt(patches), device=device)
    frequency = BASE ** (torch.arange(pairs, device=device) / -pairs)
    angle_PF = (torch.cartesian_prod(side, side)[:, :, None] * frequency).flatten(1)
    angle_LF = F.pad(torch.cat([-angle_PF, angle_PF], dim=1), (0, head_width % 4, others, 0))
    return torch.stack([angle_LF.cos(), angle_LF.sin()])


def rotate(x: Tensor, rotation_2LF: Tensor) -> Tensor:
    """Rotate each head's queries or keys in float32.

    Args:
        x: queries or keys [B, heads, L, F].
        rotation_2LF: rotation of ``axial_rotation``.

    Returns:
        Rotated queries or keys, of the shape and dtype of ``x``.
    """
    cos, sin = rotation_2LF.unbind()
    half, full = 2 * (x.shape[-1] // 4), x.float()
    first, second, rest = full.split([half, half, x.shape[-1] % 4], dim=-1)
    return torch.addcmul(full * cos, torch.cat([second, first, rest], dim=-1), sin).to(x.dtype)
