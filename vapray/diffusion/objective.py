"""The training objective: ||eps - eps_theta||^2 + alpha * L_recon (VAP-Diffusion, equation 3)."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from vapray.diffusion.randomness import TrainingDraws
from vapray.diffusion.schedule import Schedule
from vapray.models.prediction import Denoiser

__all__ = ["Losses", "denoising_loss"]


@dataclass(frozen=True)
class Losses:
    """Scalars with gradients, float32."""

    total: Tensor
    """noise + alpha * reconstruction."""
    noise: Tensor
    """Mean squared error of the noise."""
    reconstruction: Tensor
    """L_recon, before alpha."""


def denoising_loss(
    model: Denoiser,
    schedule: Schedule,
    clean_BCHW: Tensor,
    label_B: Tensor,
    context_BLD: Tensor,
    context_length_B: Tensor,
    draws: TrainingDraws,
    alpha: float,
) -> Losses:
    """The loss of one batch; ``draws`` may lie on another device; its ``flip_B`` is for the loader.

    With ``alpha`` 0 every parameter still gets a gradient, if a zero one, as DDP wants.

    Args:
        model: predicts noise.
        schedule: how the latents are noised.
        clean_BCHW: latents, already flipped.
        label_B: int64.
        context_BLD: padded text tokens.
        context_length_B: int64.
        draws: noise, diffusion steps and drops.
        alpha: weight of L_recon.
    """
    device = clean_BCHW.device
    noise, step_B, drop_B = (x.to(device, non_blocking=True) for x in (draws.noise, draws.step_B, draws.drop_B))
    noisy = schedule.add_noise(clean_BCHW, noise, step_B)
    prediction = model(noisy, step_B, label_B, context_BLD, context_length_B, drop_B)
    noise_loss = F.mse_loss(prediction.noise_BCHW.float(), noise)
    return Losses(noise_loss + alpha * prediction.reconstruction, noise_loss, prediction.reconstruction)
