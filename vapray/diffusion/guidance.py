"""Classifier-free guidance, whose scale has two conventions; both are accepted by name, never by guess.

excess            eps = c + s (c - u)    the paper's; s = 0 is no guidance
classifier_free   eps = u + s (c - u)    the usual one; s = 1 is no guidance, and s is the other's plus 1
"""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from vapray.models.prediction import Denoiser

__all__ = ["GuidanceConvention", "convert_guidance", "guidance_excess", "guided_noise"]

GuidanceConvention = Literal["excess", "classifier_free"]


def guidance_excess(scale: float, convention: GuidanceConvention) -> float:
    """The paper's s for a scale given in either convention.

    Raises:
        ValueError: an unknown convention, or a scale that is not finite.
    """
    if convention not in get_args(GuidanceConvention):
        raise ValueError(f"guidance convention: wanted one of {get_args(GuidanceConvention)}, got {convention!r}")
    if not math.isfinite(scale):
        raise ValueError(f"guidance scale: wanted a finite number, got {scale}")
    return scale if convention == "excess" else scale - 1.0


def convert_guidance(scale: float, source: GuidanceConvention, target: GuidanceConvention) -> float:
    """The same guidance in another convention; errors as ``guidance_excess``."""
    if source == target:
        guidance_excess(scale, source)
        return scale
    return guidance_excess(scale, source) - guidance_excess(0.0, target)


def guided_noise(
    model: Denoiser,
    noisy_BCHW: Tensor,
    step_B: Tensor,
    label_B: Tensor,
    context_BLD: Tensor,
    context_length_B: Tensor,
    excess: float | Tensor,
) -> Tensor:
    """Predict noise with guidance, both halves in one call; one half only when no row has any excess.

    Args:
        model: predicts noise.
        noisy_BCHW: noisy latents.
        step_B: int64.
        label_B: int64.
        context_BLD: padded text tokens.
        context_length_B: int64.
        excess: s of ``eps = c + s (c - u)``, one for all rows or float [B].

    Returns:
        [B, C, H, W].
    """
    excess_B = torch.as_tensor(excess, dtype=noisy_BCHW.dtype, device=noisy_BCHW.device)
    rows = (noisy_BCHW, step_B, label_B, context_BLD, context_length_B)
    if not bool(excess_B.any()):
        return model(*rows, reconstruct=False).noise_BCHW
    drop = torch.arange(2 * len(noisy_BCHW), device=noisy_BCHW.device) >= len(noisy_BCHW)
    noisy, step, label, context, length = (torch.cat([x, x]) for x in rows)
    both = model(noisy, step, label, context, length, drop, reconstruct=False)
    conditional, unconditional = both.noise_BCHW.chunk(2)
    return conditional + excess_B.view(-1, 1, 1, 1) * (conditional - unconditional)
