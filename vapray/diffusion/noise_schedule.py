"""Noise schedules, x_t = signal_t x_0 + sigma_t eps: step 0 is clean, 1..N are noisy; coefficients are float64."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["NoiseSchedule", "Path"]

Path = Literal["vp", "flow"]


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """Noise schedule of N steps.

    Args:
        path: ``vp``: variance-preserving, signal^2 + sigma^2 = 1; ``flow``: rectified flow, signal + sigma = 1.
        signal: float64 [N + 1], factor of the clean latent; from 1 down to 0 or more.
        sigma: float64 [N + 1], factor of the noise; from 0 up.

    Raises:
        ValueError: coefficients that do not fit the path, or do not change in every step.
    """

    path: Path
    signal: NDArray[np.float64]
    sigma: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Validate the coefficients."""
        signal, sigma = self.signal, self.sigma
        power = 2 if self.path == "vp" else 1
        if (
            signal.ndim != 1 or signal.shape != sigma.shape or len(signal) < 2
            or not np.allclose(signal**power + sigma**power, 1) or not sigma[0] == 0 <= signal[-1]
            or not ((np.diff(signal) < 0).all() and (np.diff(sigma) > 0).all())
        ):  # fmt: skip
            raise ValueError(f"{self.path} schedule: expected signal from 1 and sigma from 0, got {signal} and {sigma}")

    @classmethod
    def from_betas(cls, betas: NDArray[np.float64]) -> "NoiseSchedule":
        """Build a variance-preserving schedule from the variances that its steps add.

        Args:
            betas: float64 [N].

        Raises:
            ValueError: not one-dimensional, or a beta outside (0, 1).
        """
        if betas.ndim != 1 or not len(betas) or not ((betas > 0) & (betas < 1)).all():
            raise ValueError(f"betas: expected N values in (0, 1), got {betas}")
        alpha_bar = np.cumprod(1.0 - np.concatenate([[0.0], betas]), dtype=np.float64)
        return cls("vp", np.sqrt(alpha_bar), np.sqrt(1.0 - alpha_bar))

    @classmethod
    def scaled_linear(cls, steps: int = 1000, first: float = 0.00085, last: float = 0.012) -> "NoiseSchedule":
        """Build Stable Diffusion's schedule: the betas' square roots are equally spaced."""
        return cls.from_betas(np.linspace(first**0.5, last**0.5, steps) ** 2)

    @classmethod
    def linear(cls, steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> "NoiseSchedule":
        """Build the schedule of DDPM (Ho et al. 2020), for pixels."""
        return cls.from_betas(np.linspace(first, last, steps))

    @classmethod
    def flow(cls, steps: int = 1000) -> "NoiseSchedule":
        """Build the straight path of rectified flow (Liu et al. 2022): sigma = t / N; step N is pure noise."""
        sigma = np.arange(steps + 1, dtype=np.float64) / steps
        return cls("flow", 1.0 - sigma, sigma)

    @property
    def steps(self) -> int:
        """Number N of diffusion steps."""
        return len(self.signal) - 1

    @cached_property
    def noise_share(self) -> NDArray[np.float64]:
        """Sigma / (signal + sigma), float64 [N + 1]; equal shares on two paths are equal signal-to-noise ratios."""
        return self.sigma / (self.signal + self.sigma)

    @property
    def sigma_rate(self) -> NDArray[np.float64]:
        """Derivative of sigma along the path, float64 [N + 1]: by the angle for ``vp``, by t / N for ``flow``."""
        return self.signal if self.path == "vp" else np.ones_like(self.sigma)

    def at(self, step_B: Tensor, like_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Get signal, sigma and sigma's rate of each row, [B, 1, ...] as ``like_BCHW``; steps int64 0..N."""
        factors_B3 = self._table(like_BCHW.device, like_BCHW.dtype)[step_B.to(like_BCHW.device, non_blocking=True)]
        signal, sigma, rate = factors_B3.view(-1, 3, *(1,) * (like_BCHW.ndim - 1)).unbind(1)
        return signal, sigma, rate

    def _table(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Get the factors of all steps, [N + 1, 3]; copied to each device once."""
        key = (device, dtype)
        if key not in self._tables:
            factors = np.stack([self.signal, self.sigma, self.sigma_rate], axis=1)
            with torch.inference_mode(False):
                self._tables[key] = torch.from_numpy(factors).to(device, dtype)
        return self._tables[key]

    @cached_property
    def _tables(self) -> dict[tuple[torch.device, torch.dtype], Tensor]:
        return {}

    def add_noise(self, clean: Tensor, noise: Tensor, step_B: Tensor) -> Tensor:
        """Compute x_t = signal_t x_0 + sigma_t eps; shapes [B, ...], steps int64 0..N."""
        signal, sigma, _ = self.at(step_B, clean)
        return signal * clean + sigma * noise
