"""Wrapper of a diffusers ``AutoencoderKL``: a trained one, or the small one that a run fits."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vapray.errors import CheckpointError
from vapray.latents.file_names import CONFIG_FILE, WEIGHTS_FILE
from vapray.latents.latent_space import split_moments
from vapray.latents.network_autoencoder import NetworkAutoencoder

__all__ = ["KlAutoencoder"]


class KlAutoencoder(NetworkAutoencoder):
    """A diffusers ``AutoencoderKL``, saved in diffusers' own layout."""

    def __init__(self, network: Any) -> None:
        """Wrap a diffusers ``AutoencoderKL`` for inference, without gradients of its weights."""
        self.network = network.eval().requires_grad_(False)

    @property
    def factor(self) -> int:
        """Image side divided by latent side."""
        return int(2 ** (len(self.network.config.block_out_channels) - 1))

    @property
    def channels(self) -> int:
        """C, the number of channels of a latent."""
        return int(self.network.config.latent_channels)

    @property
    def published_scaling(self) -> tuple[float, float] | None:
        """Shift and scale from the config's shift_factor and scaling_factor; a factor of 1 counts as none."""
        config = self.network.config
        if config.scaling_factor in (None, 0, 1):
            return None
        return float(config.shift_factor or 0.0), 1 / float(config.scaling_factor)

    @property
    def decoder(self) -> list[nn.Module]:
        """Modules that only decoding uses."""
        parts = (self.network.post_quant_conv, self.network.decoder)
        return [part for part in parts if part is not None]

    def moments(self, pictures_B3HW: Tensor) -> Tensor:
        """Encode images in -1..1 to float32 [B, 2C, h, w]."""
        moments = self.network.encode(pictures_B3HW.to(self.network.dtype)).latent_dist.parameters
        return torch.cat(split_moments(moments.float()), dim=1)

    def rebuild(self, latents_BCHW: Tensor) -> Tensor:
        """Decode raw latents to images [B, 3, H, W] in about -1..1; gradients pass."""
        rebuilt: Tensor = self.network.decode(latents_BCHW.to(self.network.dtype)).sample
        return rebuilt

    def save(self, folder: str | Path) -> None:
        """Write config.json and diffusion_pytorch_model.safetensors."""
        self.network.to(memory_format=torch.contiguous_format).save_pretrained(folder)

    @classmethod
    def load(cls, folder: str | Path) -> "KlAutoencoder":
        """Read a folder in diffusers' layout, as float32; nothing is downloaded.

        Raises:
            CheckpointError: a file is missing or unreadable, or lacks finite weights of this network.
        """
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            if not (Path(folder) / name).is_file():
                raise CheckpointError(f"{folder}: {name} is missing; expected a folder in diffusers' layout")
        try:
            with _quiet():
                network, loaded = _read(folder)
        except Exception as error:  # the libraries raise errors of many types for damaged files
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".:")
            raise CheckpointError(f"{folder}: not a readable AutoencoderKL: {reason}") from error
        # diffusers draws missing weights at random without an error.
        kinds = ("missing_keys", "mismatched_keys", "unexpected_keys")
        if wrong := sorted(str(key) for kind in kinds for key in loaded[kind]):
            names = ", ".join(wrong[:3])
            what = f"{len(wrong)} weights missing, unknown or of another shape ({names}, ...)"
            raise CheckpointError(f"{folder}: {WEIGHTS_FILE} does not match the network in {CONFIG_FILE}: {what}")
        if not all(weights.isfinite().all() for weights in network.parameters()):
            raise CheckpointError(f"{folder}/{WEIGHTS_FILE}: contains weights that are not finite numbers")
        return cls(network)


def _read(folder: str | Path) -> tuple[Any, dict[str, list[Any]]]:
    from diffusers import AutoencoderKL

    network, loaded = AutoencoderKL.from_pretrained(
        str(folder),
        local_files_only=True,
        low_cpu_mem_usage=False,
        use_safetensors=True,
        torch_dtype=torch.float32,
        output_loading_info=True,
    )
    return network, loaded


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress diffusers' log of mismatched weights, since the errors here report them."""
    logger = logging.getLogger("diffusers")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
