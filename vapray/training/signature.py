"""What training depends on beside tables and config values."""

from pathlib import Path

from vapray.config import Config
from vapray.errors import ConfigError
from vapray.model_files import sha256_of

__all__ = ["initial_weights_signature"]


def initial_weights_signature(config: Config) -> str:
    """sha256 of the weights that training starts from; empty where it starts from random ones.

    Raises:
        ConfigError: they are not there.
    """
    path = config.train.init_from
    if path is None:
        return ""
    if not Path(path).is_file():
        raise ConfigError(f"train.init_from = {path}: no such file. Give a .safetensors or .pth that every node has.")
    return sha256_of([Path(path)])
