"""Autoencoder interface, images to latent moments (f_E) and back (f_D), and the base class of those with networks.

Images are NumPy uint8 [B, H, W, 3]; moments and latents are torch float32.
"""

from abc import abstractmethod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vapray.latents.batch_slices import batch_slices
from vapray.latents.image_tensors import check_images, require_latents, to_model_range, to_uint8

__all__ = ["NO_VARIANCE", "Autoencoder", "NetworkAutoencoder"]

# exp(-30) is a standard deviation of 3e-7: far below one uint8 step, and the clamp's lower end.
NO_VARIANCE = -30.0


class Autoencoder(Protocol):
    """Autoencoder interface for stages, sampler and export."""

    @property
    def factor(self) -> int:
        """Image side divided by latent side."""

    @property
    def channels(self) -> int:
        """C, the number of channels of a latent."""

    @property
    def published_scaling(self) -> tuple[float, float] | None:
        """Published shift and scale of the latents; None: they must be measured."""

    def encode_moments(self, images_BHWC: NDArray[np.uint8]) -> Tensor:
        """Encode to float32 [B, 2C, h, w]: mean and log-variance. DataError if ``factor`` does not divide the side."""

    def decode(self, latents_BCHW: Tensor | NDArray[Any]) -> NDArray[np.uint8]:
        """Decode raw latents to images uint8 [B, H, W, 3]."""

    def save(self, folder: str | Path) -> None:
        """Write the files that ``load_autoencoder`` reads into ``folder``."""


class NetworkAutoencoder(Autoencoder):
    """Autoencoder with networks on one device, which processes large batches in chunks."""

    network: Any
    """Encoder and decoder; no weight requires gradients."""

    @property
    @abstractmethod
    def decoder(self) -> list[nn.Module]:
        """Modules that only decoding uses."""

    @abstractmethod
    def moments(self, pictures_B3HW: Tensor) -> Tensor:
        """Encode images in -1..1, on the network's device, to float32 [B, 2C, h, w]."""

    @abstractmethod
    def rebuild(self, latents_BCHW: Tensor) -> Tensor:
        """Decode raw latents, on the network's device, to images [B, 3, H, W] in about -1..1; gradients pass."""

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return next(self.network.parameters()).device

    @torch.no_grad()
    def encode_moments(self, images_BHWC: NDArray[np.uint8]) -> Tensor:
        """Encode images to float32 [B, 2C, h, w]: mean and log-variance, the latter clamped.

        Raises:
            DataError: not uint8 [B, H, W, 3], or a side that is not a multiple of ``factor``.
        """
        check_images(images_BHWC, self.factor)
        parts = (images_BHWC[turn] for turn in batch_slices(*images_BHWC.shape[:3]))
        return torch.cat([self.moments(to_model_range(part, self.device)) for part in parts])

    @torch.no_grad()
    def decode(self, latents_BCHW: Tensor | NDArray[Any]) -> NDArray[np.uint8]:
        """Decode raw latents [B, C, h, w] to images uint8 [B, H, W, 3].

        Raises:
            DataError: another number of channels.
        """
        latents = require_latents(latents_BCHW, self.channels)
        count, _, height, width = latents.shape
        parts = (latents[turn] for turn in batch_slices(count, height * self.factor, width * self.factor))
        return np.concatenate([to_uint8(self.rebuild(part.to(self.device))) for part in parts])
