"""What decides contexts besides the configuration's values: the files of a text encoder's directory."""

from vapray.bank.model_files import find_model
from vapray.config import Config
from vapray.model_hub import HUB

__all__ = ["encoder_signature"]


def encoder_signature(config: Config) -> str:
    """sha256 of the model in the directory ``bank.model``.

    Empty for hashing, and for models of the hub: ``bank.revision`` stands for those, and a fingerprint is not to wait
    for a download. Checkpoints record the sha256 of either.

    Raises:
        ConfigError: no such directory, or files missing in it.
        BackendError: the config of its text tower is not there.
    """
    if config.bank.encoder == "hashing" or (config.bank.model or "").startswith(HUB):
        return ""
    return find_model(config.bank).sha256
