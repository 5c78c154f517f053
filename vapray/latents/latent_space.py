"""Latent space: pixels (uint8), raw latents, and the normalized latents of the diffusion process.

    pixels [B, H, W, 3]  -- f_E -->  moments [B, 2C, h, w]  -- noise -->  raw latents [B, C, h, w]
    raw latents  -- (raw - shift) / scale -->  normalized latents, mean 0 and sd 1 per channel

Stable Diffusion's autoencoder keeps its published constant (shift 0, scale 1/0.18215); for every other one
shift and scale are measured on the training latents.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vapray.errors import DataError

__all__ = ["LatentSpace", "LatentStatistics", "flip_pair", "sample_latent", "split_moments"]

LOWEST_LOG_VARIANCE, HIGHEST_LOG_VARIANCE = -30.0, 20.0
Array = NDArray[Any]


@dataclass(frozen=True)
class LatentSpace:
    """Shape of a latent and the affine map to its normalized form.

    Attributes:
        channels: number of channels C.
        side: side h = w, in latent pixels.
        shift: C values that are subtracted from raw latents.
        scale: C positive values by which the difference is divided.
    """

    channels: int
    side: int
    shift: tuple[float, ...]
    scale: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse values that would normalize to NaN or to another shape."""
        if len(self.shift) != self.channels or len(self.scale) != self.channels:
            raise DataError(
                f"latent space: {len(self.shift)} shifts, {len(self.scale)} scales; expected {self.channels}"
            )
        if not all(map(math.isfinite, self.shift)) or not all(0 < value < math.inf for value in self.scale):
            raise DataError(f"latent space: shift {self.shift}, scale {self.scale}; expected finite, scales above 0")

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "LatentSpace":
        """Read a record of ``to_record``, also after JSON has turned its tuples into lists."""
        shift, scale = (tuple(float(value) for value in record[key]) for key in ("shift", "scale"))
        return cls(channels=int(record["channels"]), side=int(record["side"]), shift=shift, scale=scale)

    @classmethod
    def published(cls, scaling: tuple[float, float], channels: int, side: int) -> "LatentSpace":
        """Build the latent space of an autoencoder that publishes one shift and one scale for all channels."""
        shift, scale = scaling
        return cls(channels, side, (shift,) * channels, (scale,) * channels)

    def to_record(self) -> dict[str, Any]:
        """Convert to plain numbers and lists, for a manifest or a checkpoint."""
        return {
            "channels": self.channels,
            "side": self.side,
            "shift": list(self.shift),
            "scale": list(self.scale),
        }

    def normalize(self, raw_BCHW: Tensor) -> Tensor:
        """Normalize raw latents, [B, C, h, w] both."""
        return (raw_BCHW - self._per_channel(self.shift, raw_BCHW)) / self._per_channel(self.scale, raw_BCHW)

    def denormalize(self, normalized_BCHW: Tensor) -> Tensor:
        """Invert ``normalize``."""
        scale = self._per_channel(self.scale, normalized_BCHW)
        return normalized_BCHW * scale + self._per_channel(self.shift, normalized_BCHW)

    def _per_channel(self, values: tuple[float, ...], like: Tensor) -> Tensor:
        if like.shape[-3] != self.channels:
            raise DataError(f"latents: shape {tuple(like.shape)}; expected {self.channels} channels")
        return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, 1, 1)


def _zeros() -> NDArray[np.float64]:
    return np.zeros(0)


@dataclass
class LatentStatistics:
    """Mean and variance per channel of latents, accumulated from parts of moments.

    Each position counts as the normal distribution that its moments describe, not as one draw from it.
    """

    count: int = 0
    mean: NDArray[np.float64] = field(default_factory=_zeros)
    squared_deviation: NDArray[np.float64] = field(default_factory=_zeros)

    def update(self, moments_B2CHW: Tensor | Array) -> None:
        """Add one batch of moments [B, 2C, h, w]."""
        self.merge(statistics_of(moments_B2CHW))

    def merge(self, other: "LatentStatistics") -> None:
        """Merge another accumulator (Chan et al. 1979: the parallel form of the variance).

        Raises:
            DataError: the number of channels differs.
        """
        if not other.count:
            return
        if not self.count:
            self.count, self.mean, self.squared_deviation = other.count, other.mean, other.squared_deviation
            return
        if self.mean.shape != other.mean.shape:
            raise DataError(f"latents of {len(other.mean)} channels among latents of {len(self.mean)}")
        total = self.count + other.count
        difference = other.mean - self.mean
        between = difference**2 * self.count * other.count / total
        self.squared_deviation = self.squared_deviation + other.squared_deviation + between
        self.mean = self.mean + difference * other.count / total
        self.count = total

    def space(self, side: int) -> LatentSpace:
        """Build the latent space in which the accumulated latents have mean 0 and sd 1 per channel.

        Raises:
            DataError: no latents were added, or a channel is constant.
        """
        if not self.count:
            raise DataError("latent statistics: no latents were added; expected the training split's moments")
        scale = np.sqrt(self.squared_deviation / self.count)
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            raise DataError(f"latent statistics: sd per channel is {scale}; a constant channel has no information")
        return LatentSpace(len(scale), side, tuple(self.mean.tolist()), tuple(scale.tolist()))


def statistics_of(moments_B2CHW: Tensor | Array) -> LatentStatistics:
    """Compute the statistics of one batch of moments, in float64."""
    mean, log_variance = split_moments(torch.as_tensor(moments_B2CHW).double())
    flat = mean.transpose(0, 1).flatten(1)
    spread = (flat - flat.mean(1, keepdim=True)).square().sum(1) + log_variance.exp().sum((0, 2, 3))
    return LatentStatistics(flat.shape[1], flat.mean(1).numpy(), spread.numpy())


def split_moments(moments_B2CHW: Tensor) -> tuple[Tensor, Tensor]:
    """Split into mean and log-variance, [B, C, h, w] each; the log-variance is clamped to -30..20 as in diffusers."""
    mean, log_variance = moments_B2CHW.chunk(2, dim=-3)
    return mean, log_variance.clamp(LOWEST_LOG_VARIANCE, HIGHEST_LOG_VARIANCE)


def sample_latent(moments_B2CHW: Tensor, noise_BCHW: Tensor) -> Tensor:
    """Compute raw latents [B, C, h, w]: mean + standard deviation x noise."""
    mean, log_variance = split_moments(moments_B2CHW)
    return mean + torch.exp(0.5 * log_variance) * noise_BCHW


def flip_pair(images_BHWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Stack the images and their left-right mirror images, [2, B, H, W, 3]."""
    return np.stack([images_BHWC, images_BHWC[:, :, ::-1]])
