"""Noise schedules. Step 0 is clean, steps 1..N are noisy; coefficients are float64."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Schedule"]


@dataclass(frozen=True, eq=False)
class Schedule:
    """Variance-preserving noise schedule of N steps.

    Args:
        betas: float64 [N + 1]; ``betas[0]`` is 0 and ``betas[t]`` is the variance added by step t.

    Raises:
        ValueError: not one-dimensional, ``betas[0]`` not 0, or another beta outside (0, 1).
    """

    betas: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Validate the betas."""
        inner = self.betas[1:]
        if self.betas.ndim != 1 or not len(inner) or self.betas[0] != 0 or not ((inner > 0) & (inner < 1)).all():
            raise ValueError(f"betas: expected 0 followed by N values in (0, 1), got {self.betas}")

    @classmethod
    def scaled_linear(cls, steps: int = 1000, first: float = 0.00085, last: float = 0.012) -> "Schedule":
        """Build Stable Diffusion's schedule: the betas' square roots are equally spaced."""
        return cls(np.concatenate([[0.0], np.linspace(first**0.5, last**0.5, steps) ** 2]))

    @classmethod
    def linear(cls, steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> "Schedule":
        """Build the schedule of DDPM (Ho et al. 2020), for pixels."""
        return cls(np.concatenate([[0.0], np.linspace(first, last, steps)]))

    @property
    def steps(self) -> int:
        """Number N of diffusion steps."""
        return len(self.betas) - 1

    @cached_property
    def alpha_bar(self) -> NDArray[np.float64]:
        """Signal's share of the variance, float64 [N + 1], 1 at step 0."""
        return np.cumprod(1.0 - self.betas, dtype=np.float64)

    @cached_property
    def signal(self) -> NDArray[np.float64]:
        """Factor of the clean latent, sqrt(alpha_bar), float64 [N + 1]."""
        return np.sqrt(self.alpha_bar)

    @cached_property
    def sigma(self) -> NDArray[np.float64]:
        """Factor of the noise, sqrt(1 - alpha_bar), float64 [N + 1]."""
        return np.sqrt(1.0 - self.alpha_bar)

    def add_noise(self, clean: Tensor, noise: Tensor, step_B: Tensor) -> Tensor:
        """Compute x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps; shapes [B, ...], steps int64 0..N."""
        factors_BF = torch.from_numpy(np.stack([self.signal, self.sigma], axis=1)).to(clean.device, clean.dtype)
        shape = (-1,) + (1,) * (clean.ndim - 1)
        signal, sigma = (factor.view(shape) for factor in factors_BF[step_B.to(clean.device)].unbind(1))
        return signal * clean + sigma * noise
