"""Distribution of the diffusion steps that training draws."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["NoiseLevels"]


@dataclass(frozen=True, eq=False)
class NoiseLevels:
    """Map from uniform numbers to diffusion steps 1..N.

    Args:
        noise_share: float64 [N + 1], sigma / (signal + sigma) of each step, as in ``NoiseSchedule``.
        logit_std: None: steps are uniform. Else the logit of the noise share is normal, with this standard deviation
            and the mean ``logit_mean`` (Esser et al., arXiv 2403.03206).
        logit_mean: mean of that logit; above 0 most levels have more noise than signal.
        uniform_share: share of the steps, 0..1, that are uniform all the same.

    Raises:
        ValueError: a deviation that is not positive, or a share outside 0..1.
    """

    noise_share: NDArray[np.float64]
    logit_std: float | None = None
    logit_mean: float = 0.0
    uniform_share: float = 0.0

    def __post_init__(self) -> None:
        """Validate the distribution."""
        if (self.logit_std is not None and self.logit_std <= 0) or not 0 <= self.uniform_share <= 1:
            raise ValueError(
                f"noise levels: expected a positive deviation and a share in 0..1, got {self.logit_std} and "
                f"{self.uniform_share}"
            )

    @classmethod
    def uniform(cls, steps: int) -> "NoiseLevels":
        """Build the uniform distribution over 1..N, as in the paper.

        Raises:
            ValueError: ``steps`` below 1.
        """
        if steps < 1:
            raise ValueError(f"noise levels: expected at least 1 step, got {steps}")
        return cls(np.arange(steps + 1) / steps)

    def steps(self, uniform_B: NDArray[np.float64]) -> NDArray[np.int64]:
        """Map numbers in [0, 1) to steps, int64 [B]; for each kind of step a larger number is a noisier step."""
        count, share = len(self.noise_share) - 1, self.uniform_share
        if self.logit_std is None:
            return 1 + (uniform_B * count).astype(np.int64)
        with np.errstate(divide="ignore", invalid="ignore"):
            even_B, normal_B = uniform_B / share, torch.from_numpy((uniform_B - share) / (1 - share))
        level_B = torch.sigmoid(self.logit_mean + self.logit_std * torch.special.ndtri(normal_B.clamp(0, 1))).numpy()
        drawn_B = 1 + np.searchsorted(self.noise_share[1:], level_B)
        steps_B = np.where(uniform_B < share, 1 + np.nan_to_num(even_B * count).clip(0, count - 1), drawn_B)
        return steps_B.clip(1, count).astype(np.int64)
