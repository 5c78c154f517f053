"""Hash of the external inputs of the downstream stage."""

import json
from pathlib import Path

from vapray.config import Config
from vapray.errors import ConfigError
from vapray.model_files import sha256_of

__all__ = ["classifier_weights_signature"]


def classifier_weights_signature(config: Config) -> str:
    """sha256 of each file of initial weights, as JSON by network; empty if all networks start from random weights.

    Raises:
        ConfigError: a file does not exist.
    """
    weights = config.downstream.weights
    for network, path in weights.items():
        if not Path(path).is_file():
            raise ConfigError(
                f"downstream.weights {network} = {path}: no such file. Fix: give a .safetensors or .pth on every node."
            )
    digests = {network: sha256_of([Path(path)]) for network, path in weights.items()}
    return json.dumps(digests, sort_keys=True) if digests else ""
