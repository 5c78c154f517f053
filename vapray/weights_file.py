"""Reader of weight files: safetensors, or tensors by name from ``torch.save``; never unpickles code."""

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
"""Names in torchvision's published DenseNet files, such as ``norm.1.weight`` for ``norm1.weight`` in its code."""


def read_weights(setting: str, path: str | Path) -> dict[str, Tensor]:
    """Read tensors by name, as torchvision's code names them, to the CPU.

    Args:
        setting: Config key that names the file, for errors.
        path: File that ends with ``.safetensors``, or is in torch's format.

    Raises:
        ConfigError: the file does not exist.
        CheckpointError: the file is damaged or does not hold tensors by name.
    """
    if not Path(path).is_file():
        raise ConfigError(f"{setting} = {path}: no such file. Fix: give the path of a weights file.")
    try:
        weights: Any = load_file(path) if Path(path).suffix == ".safetensors" else _unpickled(path)
        return {
            _OLD_NAME.sub(r"\1\2", str(name)): weight for name, weight in weights.items() if isinstance(weight, Tensor)
        }
    except Exception as error:  # damaged zip archives and pickles raise exceptions of any class
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0][:200]
        raise CheckpointError(
            f"{setting} = {path}: cannot be read as weights ({reason}). Fix: copy the file again."
        ) from error


def metadata_of(path: str | Path) -> dict[str, str]:
    """Metadata of a readable safetensors file; empty for any other file."""
    if Path(path).suffix != ".safetensors":
        return {}
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}


def _unpickled(path: str | Path) -> Any:
    return torch.load(path, weights_only=True, map_location="cpu")
