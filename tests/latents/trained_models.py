"""Autoencoders with random weights, in the file layouts of trained ones."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from vapray.latents.tiny_autoencoder import TinyAutoencoder

OLD_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
"""Of the attention, in Stable Diffusion's own files."""


def stable_diffusion(folder: Path, *, seed: int = 0, old_names: bool = False, **changes: Any) -> Path:
    """A narrow ``AutoencoderKL`` built like Stable Diffusion's: four levels, two layers each, attention between."""
    from diffusers import AutoencoderKL

    torch.manual_seed(seed)
    settings: dict[str, Any] = {
        "block_out_channels": (8, 8, 16, 16),
        "layers_per_block": 2,
        "norm_num_groups": 4,
        "latent_channels": 4,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "sample_size": 32,
    }
    AutoencoderKL(**settings | changes).save_pretrained(folder)
    if old_names:
        path = folder / "diffusion_pytorch_model.safetensors"
        weights = load_file(path)
        save_file({_old(name): weight.clone() for name, weight in weights.items()}, path)
    return folder


def _old(name: str) -> str:
    for new, old in OLD_NAMES.items():
        if "attentions" in name:
            name = name.replace(f".{new}.", f".{old}.")
    return name


def taef2(folder: Path, *, seed: int = 0) -> Path:
    """The pair of files of TAEF2, of 32 channels like it, and narrower; fp16."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    network = TinyAutoencoder(channels=32, width=8).network
    for half in ("encoder", "decoder"):
        weights = {name: weight.half() for name, weight in network[half].state_dict().items()}
        torch.save(weights, folder / f"taef2_{half}.pth")
    return folder
