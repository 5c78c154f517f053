"""A file of weights: safetensors, or what ``torch.save`` wrote of tensors by name; never a pickle of code."""

import re
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from vapray.errors import CheckpointError, ConfigError

__all__ = ["metadata_of", "read_weights"]

_OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d\.)")
"""In torchvision's published files of DenseNet: ``norm.1.weight``, which its code calls ``norm1.weight``."""


def read_weights(setting: str, path: str | Path) -> dict[str, Tensor]:
    """Tensors by name, as torchvision's code has it, on the CPU.

    Args:
        setting: the key that names the file, for errors.
        path: ends with ``.safetensors``, or is torch's own format.

    Raises:
        ConfigError: no such file.
        CheckpointError: damaged, or no weights by name.
    """
    if not Path(path).is_file():
        raise ConfigError(f"{setting} = {path}: no such file. Give the path of a weights file.")
    try:
        weights: Any = load_file(path) if Path(path).suffix == ".safetensors" else _unpickled(path)
        return {
            _OLD_NAME.sub(r"\1\2", str(name)): weight for name, weight in weights.items() if isinstance(weight, Tensor)
        }
    except Exception as error:  # damaged zip archives and pickles raise whatever they like
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0][:200]
        raise CheckpointError(
            f"{setting} = {path}: cannot be read as weights ({reason}). Copy the file again."
        ) from error


def metadata_of(path: str | Path) -> dict[str, str]:
    """What a safetensors file that can be read says of itself; nothing of any other."""
    if Path(path).suffix != ".safetensors":
        return {}
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}


def _unpickled(path: str | Path) -> Any:
    return torch.load(path, weights_only=True, map_location="cpu")
