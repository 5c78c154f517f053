"""What every noise-predicting network takes and returns.

Shape suffixes: B rows of the batch, C channels, H and W sides, L tokens, P or M memory entries, D width.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

__all__ = ["Denoiser", "NoisePrediction"]


@dataclass(frozen=True)
class NoisePrediction:
    """A network's answer for a batch of noisy latents."""

    noise_BCHW: Tensor
    """The predicted noise, eps_theta."""
    reconstruction: Tensor
    """L_recon, the mean of ``reconstruction_B``; 0 for a network without prototypes."""
    reconstruction_B: Tensor
    """Each row's own L_recon, float32."""


class Denoiser(Protocol):
    """A network that predicts the noise in latents, given a class and a caption's context."""

    def __call__(
        self,
        noisy_BCHW: Tensor,
        step_B: Tensor,
        label_B: Tensor,
        context_BLD: Tensor,
        context_length_B: Tensor,
        drop_B: Tensor | None = None,
        *,
        reconstruct: bool = True,
    ) -> NoisePrediction:
        """Predict noise; see ``UViT.forward`` for shapes. ``reconstruct=False`` spares L_recon (sampling)."""
        ...
