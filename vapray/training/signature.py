"""Signature of training inputs other than tables and configuration."""

from pathlib import Path

from vapray.config import Config
from vapray.errors import ConfigError
from vapray.model_files import sha256_of

__all__ = ["initial_weights_signature"]


def initial_weights_signature(config: Config) -> str:
    """Compute the sha256 of the initial weights; empty for random ones.

    Raises:
        ConfigError: the file is missing.
    """
    path = config.train.init_from
    if path is None:
        return ""
    if not Path(path).is_file():
        raise ConfigError(f"train.init_from = {path}: no such file. Fix: give a .safetensors or .pth on every node.")
    return sha256_of([Path(path)])
