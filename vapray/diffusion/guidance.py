"""Classifier-free guidance; its scale has two conventions, which are selected by name.

excess            y = c + s (c - u)    the paper's; s = 0 is no guidance
classifier_free   y = u + s (c - u)    the usual one; s = 1 is no guidance, and s is the other's plus 1

c and u are the network's conditional and unconditional outputs. Guided noise, clean latents and velocities convert into
one another, since the conversions of a step are affine.

Guidance may be limited to an interval of diffusion steps (Kynkäänniemi et al., arXiv 2404.07724): outside it y is c,
and the unconditional half is not computed.
"""

import math
from dataclasses import dataclass
from typing import Literal, Self, get_args

import torch
from torch import Tensor

from vapray.models.prediction import Denoiser

__all__ = [
    "UNGUIDED",
    "Guidance",
    "GuidanceConvention",
    "convert_guidance",
    "guidance_excess",
    "guide",
    "guided_output",
]

GuidanceConvention = Literal["excess", "classifier_free"]


def guidance_excess(scale: float, convention: GuidanceConvention) -> float:
    """Convert a scale in either convention to the paper's s.

    Raises:
        ValueError: an unknown convention, or a scale that is not finite.
    """
    if convention not in get_args(GuidanceConvention):
        raise ValueError(f"guidance convention: expected one of {get_args(GuidanceConvention)}, got {convention!r}")
    if not math.isfinite(scale):
        raise ValueError(f"guidance scale: expected a finite number, got {scale}")
    return scale if convention == "excess" else scale - 1.0


def convert_guidance(scale: float, source: GuidanceConvention, target: GuidanceConvention) -> float:
    """Convert a scale to another convention; errors as in ``guidance_excess``."""
    if source == target:
        guidance_excess(scale, source)
        return scale
    return guidance_excess(scale, source) - guidance_excess(0.0, target)


@dataclass(frozen=True)
class Guidance:
    """Strength of guidance, and the diffusion steps with guidance."""

    excess: float = 0.0
    """Scale s of ``y = c + s (c - u)``."""
    interval: tuple[int, int] | None = None
    """First and last diffusion step with guidance, both included; None: all steps."""

    def __post_init__(self) -> None:
        """Refuse a non-finite scale and an empty interval."""
        guidance_excess(self.excess, "excess")
        if self.interval is not None and self.interval[0] > self.interval[1]:
            raise ValueError(f"guidance interval: expected first <= last, got {self.interval}")

    @classmethod
    def from_scale(cls, scale: float, convention: GuidanceConvention, interval: tuple[int, int] | None = None) -> Self:
        """Build from a scale in either convention; errors as in ``guidance_excess``."""
        return cls(guidance_excess(scale, convention), interval)

    def at(self, step: int) -> float:
        """Get the excess at a diffusion step; 0 if only the conditional half is needed."""
        inside = self.interval is None or self.interval[0] <= step <= self.interval[1]
        return self.excess if inside else 0.0


UNGUIDED = Guidance()


def guide(conditional_BCHW: Tensor, unconditional_BCHW: Tensor, excess_B: Tensor) -> Tensor:
    """Compute ``c + s (c - u)``, with each row's own s."""
    return conditional_BCHW + excess_B.view(-1, 1, 1, 1) * (conditional_BCHW - unconditional_BCHW)


def guided_output(
    model: Denoiser,
    noisy_BCHW: Tensor,
    step_B: Tensor,
    label_B: Tensor,
    context_BLD: Tensor,
    context_length_B: Tensor,
    excess: float | Tensor,
) -> Tensor:
    """Predict with guidance, both halves in one call; the conditional half alone if all excesses are 0.

    Args:
        model: network.
        noisy_BCHW: noisy latents.
        step_B: int64, diffusion steps.
        label_B: int64, classes.
        context_BLD: padded text tokens.
        context_length_B: int64, number of real text tokens of each row.
        excess: scale s of ``y = c + s (c - u)``, one for all rows or float [B].

    Returns:
        Output [B, C, H, W].
    """
    excess_B = torch.as_tensor(excess, dtype=noisy_BCHW.dtype, device=noisy_BCHW.device)
    rows = (noisy_BCHW, step_B, label_B, context_BLD, context_length_B)
    if not bool(excess_B.any()):
        return model(*rows, reconstruct=False).output_BCHW
    drop = torch.arange(2 * len(noisy_BCHW), device=noisy_BCHW.device) >= len(noisy_BCHW)
    noisy, step, label, context, length = (torch.cat([x, x]) for x in rows)
    both = model(noisy, step, label, context, length, drop, reconstruct=False)
    conditional, unconditional = both.output_BCHW.chunk(2)
    return guide(conditional, unconditional, excess_B)
