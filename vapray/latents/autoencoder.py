"""f_E and f_D: pictures to latent moments and back.

Pictures are NumPy uint8 [B, H, W, 3]; moments and latents are torch float32.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vapray.errors import CheckpointError, DataError
from vapray.latents.latent_space import split_moments

__all__ = ["Autoencoder", "KlAutoencoder", "PixelSpace", "load_autoencoder", "to_pictures", "to_unit_range"]

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
# exp(-30) is a standard deviation of 3e-7: far below one uint8 step, and the clamp's lower end.
NO_VARIANCE = -30.0


class Autoencoder(Protocol):
    """What stages, sampler and export ask of an autoencoder."""

    @property
    def factor(self) -> int:
        """Picture side divided by latent side."""

    @property
    def channels(self) -> int:
        """C, the channels of a latent."""

    def encode_moments(self, images_BHWC: NDArray[np.uint8]) -> Tensor:
        """float32 [B, 2C, h, w]: mean and log-variance. DataError if the side is not a multiple of factor."""

    def decode(self, latents_BCHW: Tensor | NDArray[Any]) -> NDArray[np.uint8]:
        """Raw latents to pictures uint8 [B, H, W, 3]."""

    def save(self, folder: str | Path) -> None:
        """Write into ``folder`` what ``load_autoencoder`` reads."""


class KlAutoencoder:
    """A diffusers ``AutoencoderKL``, saved in diffusers' own layout."""

    def __init__(self, network: Any) -> None:
        """Wrap a diffusers ``AutoencoderKL`` for inference; its weights no longer ask for gradients."""
        self.network = network.eval().requires_grad_(False)

    @property
    def factor(self) -> int:
        """Picture side divided by latent side."""
        return int(2 ** (len(self.network.config.block_out_channels) - 1))

    @property
    def channels(self) -> int:
        """C, the channels of a latent."""
        return int(self.network.config.latent_channels)

    @torch.no_grad()
    def encode_moments(self, images_BHWC: NDArray[np.uint8]) -> Tensor:
        """float32 [B, 2C, h, w]: mean and log-variance, the latter clamped.

        Raises:
            DataError: not uint8 [B, H, W, 3], or a side that is not a multiple of ``factor``.
        """
        _check_pictures(images_BHWC, self.factor)
        pictures = to_unit_range(images_BHWC).to(self.network.device, self.network.dtype)
        moments = self.network.encode(pictures).latent_dist.parameters
        return torch.cat(split_moments(moments.float()), dim=1)

    @torch.no_grad()
    def decode(self, latents_BCHW: Tensor | NDArray[Any]) -> NDArray[np.uint8]:
        """Raw latents [B, C, h, w] to pictures uint8 [B, H, W, 3].

        Raises:
            DataError: another number of channels.
        """
        latents = _check_latents(latents_BCHW, self.channels)
        return to_pictures(self.network.decode(latents.to(self.network.device, self.network.dtype)).sample)

    def save(self, folder: str | Path) -> None:
        """Write config.json and diffusion_pytorch_model.safetensors."""
        self.network.to(memory_format=torch.contiguous_format).save_pretrained(folder)

    @classmethod
    def load(cls, folder: str | Path) -> "KlAutoencoder":
        """Read a folder in diffusers' layout; nothing is downloaded.

        Raises:
            CheckpointError: a file is missing or cannot be read.
        """
        from diffusers import AutoencoderKL

        for name in (CONFIG_FILE, WEIGHTS_FILE):
            if not (Path(folder) / name).is_file():
                raise CheckpointError(f"{folder}: {name} is missing; wanted a folder in diffusers' layout")
        try:
            network = AutoencoderKL.from_pretrained(str(folder), local_files_only=True, low_cpu_mem_usage=False)
        except Exception as error:
            raise CheckpointError(f"{folder}: not a readable AutoencoderKL: {error}") from error
        return cls(network)


class PixelSpace:
    """The identity: latents are the pixels scaled to -1..1, for pictures small enough to diffuse directly."""

    factor = 1
    channels = 3

    def encode_moments(self, images_BHWC: NDArray[np.uint8]) -> Tensor:
        """float32 [B, 6, H, W]: the scaled pixels, and a log-variance that stands for none.

        Raises:
            DataError: not uint8 [B, H, W, 3].
        """
        _check_pictures(images_BHWC, self.factor)
        mean = to_unit_range(images_BHWC)
        return torch.cat([mean, torch.full_like(mean, NO_VARIANCE)], dim=1)

    def decode(self, latents_BCHW: Tensor | NDArray[Any]) -> NDArray[np.uint8]:
        """Latents [B, 3, H, W] to pictures uint8 [B, H, W, 3], rounded and clipped.

        Raises:
            DataError: another number of channels.
        """
        return to_pictures(_check_latents(latents_BCHW, self.channels))

    def save(self, folder: str | Path) -> None:
        """Write config.json, which names the class; there are no weights."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / CONFIG_FILE).write_text(json.dumps({"_class_name": "PixelSpace"}) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> "PixelSpace":
        """Nothing is read: every pixel space is the same."""
        return cls()


LOADERS: dict[str, Callable[[str | Path], Autoencoder]] = {
    "AutoencoderKL": KlAutoencoder.load,
    "PixelSpace": PixelSpace.load,
}


def load_autoencoder(folder: str | Path, device: str = "cpu") -> Autoencoder:
    """Read the autoencoder that ``folder/config.json`` names, onto a torch device.

    Raises:
        CheckpointError: no readable config.json, an unknown class, or damaged weights.
    """
    path = Path(folder) / CONFIG_FILE
    try:
        name = json.loads(path.read_text())["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be read as an autoencoder's config: {error!r}") from error
    if name not in LOADERS:
        raise CheckpointError(f"{path}: autoencoder {name!r} is unknown. Known: {', '.join(sorted(LOADERS))}")
    autoencoder = LOADERS[name](folder)
    if isinstance(autoencoder, KlAutoencoder):
        autoencoder.network.to(device)
    return autoencoder


def to_unit_range(images_BHWC: NDArray[np.uint8]) -> Tensor:
    """uint8 [B, H, W, 3] to float32 [B, 3, H, W] in -1..1."""
    pictures = torch.from_numpy(np.array(images_BHWC)).permute(0, 3, 1, 2)
    return pictures.float().div(127.5).sub(1.0).contiguous()


def to_pictures(pixels_BCHW: Tensor) -> NDArray[np.uint8]:
    """Float [B, 3, H, W] in -1..1 to uint8 [B, H, W, 3], rounded and clipped."""
    scaled = pixels_BCHW.float().add(1.0).mul(127.5).round().clamp(0, 255)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _check_pictures(images: NDArray[np.uint8], factor: int) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise DataError(f"pictures: {images.dtype} {images.shape}; wanted uint8 [B, H, W, 3]")
    if images.shape[1] % factor or images.shape[2] % factor:
        raise DataError(f"pictures of {images.shape[1]} x {images.shape[2]}; wanted multiples of {factor}")


def _check_latents(latents: Tensor | NDArray[Any], channels: int) -> Tensor:
    tensor = torch.as_tensor(latents)
    if tensor.ndim != 4 or tensor.shape[1] != channels:
        raise DataError(f"latents: shape {tuple(tensor.shape)}; wanted [B, {channels}, h, w]")
    return tensor.float()
