"""What the classifiers depend on besides tables and config values."""

import json
from pathlib import Path

from vapray.config import Config
from vapray.errors import ConfigError
from vapray.model_files import sha256_of

__all__ = ["classifier_weights_signature"]


def classifier_weights_signature(config: Config) -> str:
    """sha256 of the files that networks start from; empty where all start from random weights.

    Raises:
        ConfigError: one is not there.
    """
    weights = config.downstream.weights
    for network, path in weights.items():
        if not Path(path).is_file():
            raise ConfigError(
                f"downstream.weights {network} = {path}: no such file. Give a .safetensors or .pth that every node has."
            )
    digests = {network: sha256_of([Path(path)]) for network, path in weights.items()}
    return json.dumps(digests, sort_keys=True) if digests else ""
