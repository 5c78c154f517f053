"""Identity autoencoder for diffusion in pixel space."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vapray.latents.file_names import CONFIG_FILE
from vapray.latents.network_autoencoder import NO_VARIANCE
from vapray.latents.pictures import require_latents, require_pictures, to_pictures, to_unit_range

__all__ = ["PixelSpace"]


class PixelSpace:
    """Identity: latents are the pixels scaled to -1..1, for images small enough to diffuse directly."""

    factor = 1
    channels = 3
    published_scaling = None

    def encode_moments(self, images_BHWC: NDArray[np.uint8]) -> Tensor:
        """Scale images to float32 [B, 6, H, W]: the scaled pixels, and the log-variance of no variance.

        Raises:
            DataError: not uint8 [B, H, W, 3].
        """
        require_pictures(images_BHWC, self.factor)
        mean = to_unit_range(images_BHWC)
        return torch.cat([mean, torch.full_like(mean, NO_VARIANCE)], dim=1)

    def decode(self, latents_BCHW: Tensor | NDArray[Any]) -> NDArray[np.uint8]:
        """Convert latents [B, 3, H, W] to images uint8 [B, H, W, 3], rounded and clipped.

        Raises:
            DataError: another number of channels.
        """
        return to_pictures(require_latents(latents_BCHW, self.channels))

    def save(self, folder: str | Path) -> None:
        """Write config.json, which names the class; there are no weights."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / CONFIG_FILE).write_text(json.dumps({"_class_name": "PixelSpace"}) + "\n")
