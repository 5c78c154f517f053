"""Base class of autoencoders with networks: files, device, and large batches in chunks."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vapray.latents.pictures import require_latents, require_pictures, to_pictures, to_unit_range
from vapray.latents.turns import turns

__all__ = ["NO_VARIANCE", "NetworkAutoencoder"]

# exp(-30) is a standard deviation of 3e-7: far below one uint8 step, and the clamp's lower end.
NO_VARIANCE = -30.0


class NetworkAutoencoder(ABC):
    """Autoencoder with networks on one device, which processes large batches in chunks."""

    network: Any
    """Encoder and decoder; no weight requires gradients."""

    @property
    @abstractmethod
    def factor(self) -> int:
        """Image side divided by latent side."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """C, the number of channels of a latent."""

    @property
    @abstractmethod
    def published_scaling(self) -> tuple[float, float] | None:
        """Published shift and scale of the latents; see ``Autoencoder``."""

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

    @abstractmethod
    def save(self, folder: str | Path) -> None:
        """Write the files that ``load_autoencoder`` reads into ``folder``."""

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
        require_pictures(images_BHWC, self.factor)
        parts = (images_BHWC[turn] for turn in turns(*images_BHWC.shape[:3]))
        return torch.cat([self.moments(to_unit_range(part).to(self.device)) for part in parts])

    @torch.no_grad()
    def decode(self, latents_BCHW: Tensor | NDArray[Any]) -> NDArray[np.uint8]:
        """Decode raw latents [B, C, h, w] to images uint8 [B, H, W, 3].

        Raises:
            DataError: another number of channels.
        """
        latents = require_latents(latents_BCHW, self.channels)
        count, _, height, width = latents.shape
        parts = (latents[turn] for turn in turns(count, height * self.factor, width * self.factor))
        return np.concatenate([to_pictures(self.rebuild(part.to(self.device))) for part in parts])
