"""Classifier-free guidance, whose scale has two conventions; both are accepted by name, never by guess.

excess            eps = c + s (c - u)    the paper's; s = 0 is no guidance
classifier_free   eps = u + s (c - u)    the usual one; s = 1 is no guidance, and s is the other's plus 1

Guidance may be kept to an interval of diffusion steps (Kynkäänniemi et al., arXiv 2404.07724): outside of it eps is c,
and the unconditional half is not computed at all.
"""

import math
from dataclasses import dataclass
from typing import Literal, Self, get_args

import torch
from torch import Tensor

from vapray.models.prediction import Denoiser

__all__ = ["UNGUIDED", "Guidance", "GuidanceConvention", "convert_guidance", "guidance_excess", "guide", "guided_noise"]

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


@dataclass(frozen=True)
class Guidance:
    """How far, and where on the way, an image is pushed from the null condition."""

    excess: float = 0.0
    """s of ``eps = c + s (c - u)``."""
    interval: tuple[int, int] | None = None
    """First and last diffusion step with guidance, both included; None for all."""

    def __post_init__(self) -> None:
        """Refuse a scale that is not finite and an empty interval."""
        guidance_excess(self.excess, "excess")
        if self.interval is not None and self.interval[0] > self.interval[1]:
            raise ValueError(f"guidance interval: wanted first <= last, got {self.interval}")

    @classmethod
    def of(cls, scale: float, convention: GuidanceConvention, interval: tuple[int, int] | None = None) -> Self:
        """From a scale in either convention; errors as ``guidance_excess``."""
        return cls(guidance_excess(scale, convention), interval)

    def at(self, step: int) -> float:
        """The excess at a diffusion step; 0 where only the conditional half is needed."""
        inside = self.interval is None or self.interval[0] <= step <= self.interval[1]
        return self.excess if inside else 0.0


UNGUIDED = Guidance()


def guide(conditional_BCHW: Tensor, unconditional_BCHW: Tensor, excess_B: Tensor) -> Tensor:
    """``c + s (c - u)``, each row by its own s."""
    return conditional_BCHW + excess_B.view(-1, 1, 1, 1) * (conditional_BCHW - unconditional_BCHW)


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
    return guide(conditional, unconditional, excess_B)
