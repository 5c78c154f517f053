"""Meaning of a network's output: the noise, the clean latent, or the velocity of the noise schedule's path.

With x = signal x0 + sigma eps, the targets and the clean latent of an output y are

    prediction   target                            x0
    epsilon      eps                               (x - sigma y) / signal
    x            x0                                y
    v            signal' x0 + sigma' eps           sigma' x - sigma y

Primes are derivatives along the path: v is sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x0 on ``vp`` (Salimans & Ho,
arXiv 2202.00512), and eps - x0 on ``flow`` (Liu et al., arXiv 2209.03003).
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from vapray.diffusion.noise_schedule import NoiseSchedule

__all__ = ["LossSpace", "Parameterization", "PredictionType"]

PredictionType = Literal["epsilon", "x", "v"]
LossSpace = Literal["epsilon", "x", "v", "min_snr"]
MIN_SIGMA = 0.05
"""Lower bound of sigma in the weights of a clean latent's error, as in JiT (Li & He, arXiv 2511.13720)."""
MAX_SNR = 5.0
"""gamma of min-SNR, with its authors' value (Hang et al., arXiv 2303.09556)."""


@dataclass(frozen=True)
class Parameterization:
    """Target of a network, and conversion of its output to the clean latent.

    Args:
        schedule: noise schedule.
        prediction: meaning of the output.

    Raises:
        ValueError: an unknown prediction, or noise on a path that ends without signal.
    """

    schedule: NoiseSchedule
    prediction: PredictionType = "epsilon"

    def __post_init__(self) -> None:
        """Refuse what cannot be converted."""
        if self.prediction not in get_args(PredictionType):
            raise ValueError(f"prediction: expected one of {get_args(PredictionType)}, got {self.prediction!r}")
        if self.prediction == "epsilon" and self.schedule.signal[-1] == 0:
            raise ValueError(f"prediction epsilon: the last step of path {self.schedule.path} has no signal")

    def target(self, clean_BCHW: Tensor, noise_BCHW: Tensor, step_B: Tensor) -> Tensor:
        """Compute what the network should predict, [B, C, H, W]; steps int64 1..N."""
        if self.prediction == "epsilon":
            return noise_BCHW
        if self.prediction == "x":
            return clean_BCHW
        signal, sigma, sigma_rate = self.schedule.at(step_B, clean_BCHW)
        signal_rate = -sigma if self.schedule.path == "vp" else -torch.ones_like(signal)
        return signal_rate * clean_BCHW + sigma_rate * noise_BCHW

    def clean(self, output_BCHW: Tensor, noisy_BCHW: Tensor, step_B: Tensor) -> Tensor:
        """Convert outputs to clean latents, [B, C, H, W]; steps int64 1..N."""
        if self.prediction == "x":
            return output_BCHW
        signal, sigma, sigma_rate = self.schedule.at(step_B, noisy_BCHW)
        if self.prediction == "epsilon":
            return (noisy_BCHW - sigma * output_BCHW) / signal
        return sigma_rate * noisy_BCHW - sigma * output_BCHW

    def loss_factor(self, loss: LossSpace, step_B: Tensor) -> Tensor:
        """Compute the factor [B] that turns an output's squared error into that of another space.

        The weights of the clean latent's error are SNR = signal^2 / sigma^2 for ``epsilon``, 1 for ``x``, 1 / sigma^2
        for ``v`` (SNR + 1 on ``vp``), and min(SNR, 5) for ``min_snr``, where sigma is at least 0.05.
        """
        if loss == self.prediction:
            return torch.ones(step_B.shape, device=step_B.device)
        signal_B, sigma_B, _ = self.schedule.at(step_B, torch.empty(0, device=step_B.device))
        bounded_B = sigma_B.clamp(min=MIN_SIGMA)
        snr_B = (signal_B / bounded_B).square()
        weights = {
            "epsilon": snr_B,
            "x": torch.ones_like(snr_B),
            "v": bounded_B**-2,
            "min_snr": snr_B.clamp(max=MAX_SNR),
        }
        output = {"epsilon": sigma_B / signal_B, "x": torch.ones_like(snr_B), "v": sigma_B}
        return weights[loss] * output[self.prediction].square()
