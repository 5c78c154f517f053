"""Interface of denoising networks.

Shape suffixes: B rows of the batch, C channels, H and W sides, L tokens, P or M memory entries, D width.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from vapray.models.alignment import AlignmentTarget
from vapray.models.text_tokens import TextShape

__all__ = ["Denoiser", "Prediction"]


@dataclass(frozen=True)
class Prediction:
    """Output of a network for a batch of noisy latents."""

    output_BCHW: Tensor
    """Predicted noise eps_theta, or what ``Parameterization`` says instead."""
    reconstruction_B: Tensor
    """L_recon of each row, float32; 0 for a network without prototypes."""
    alignment: Tensor | None = None
    """Alignment loss, float32, before its weight; None for a network without an alignment head, and in sampling."""


class Denoiser(Protocol):
    """Network that predicts the noise in latents, or another target, given a class and a caption's context."""

    def __call__(
        self,
        noisy_BCHW: Tensor,
        step_B: Tensor,
        label_B: Tensor,
        context_BLD: Tensor,
        context_length_B: Tensor,
        drop_B: Tensor | None = None,
        *,
        text_shape: TextShape | None = None,
        reconstruct: bool = True,
        align: AlignmentTarget | None = None,
    ) -> Prediction:
        """Predict; see ``UViT.forward`` for shapes. ``reconstruct=False`` skips L_recon (sampling)."""
        ...
