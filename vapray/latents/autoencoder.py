"""Autoencoder interface: images to latent moments (f_E) and back (f_D).

Images are NumPy uint8 [B, H, W, 3]; moments and latents are torch float32.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vapray.errors import CheckpointError
from vapray.latents.file_names import CONFIG_FILE
from vapray.latents.kl_autoencoder import KlAutoencoder
from vapray.latents.network_autoencoder import NetworkAutoencoder
from vapray.latents.pixel_space import PixelSpace
from vapray.latents.tiny_autoencoder import TinyAutoencoder

__all__ = ["Autoencoder", "load_autoencoder"]


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


LOADERS: dict[str, Callable[[str | Path], Autoencoder]] = {
    "AutoencoderKL": KlAutoencoder.load,
    "PixelSpace": lambda _: PixelSpace(),
    "TinyAutoencoder": TinyAutoencoder.load,
}


def load_autoencoder(folder: str | Path, device: str = "cpu") -> Autoencoder:
    """Load the autoencoder of the class in ``folder/config.json`` onto a torch device.

    Raises:
        CheckpointError: no readable config.json, an unknown class, or damaged weights.
    """
    path = Path(folder) / CONFIG_FILE
    try:
        name = json.loads(path.read_text())["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be read as an autoencoder's config: {error!r}") from error
    if name not in LOADERS:
        raise CheckpointError(f"{path}: unknown autoencoder {name!r}. Known: {', '.join(sorted(LOADERS))}")
    autoencoder = LOADERS[name](folder)
    if isinstance(autoencoder, NetworkAutoencoder):
        autoencoder.network.to(device)
    return autoencoder
