"""Signature of a text encoder's files, which determine contexts together with the configuration."""

from vapray.bank.tower_files import find_tower
from vapray.config import Config
from vapray.model_files import hub_commit, is_directory

__all__ = ["encoder_signature"]


def encoder_signature(config: Config) -> str:
    """Compute the sha256 of the model in ``bank.model``, or its hub commit; empty for hashing.

    Raises:
        ConfigError: no such directory, or files missing in it.
        BackendError: the config of its text tower is missing.
    """
    bank = config.bank
    if bank.encoder == "hashing":
        return ""
    if is_directory(bank.model):
        return find_tower(bank).sha256
    return hub_commit(bank.model or "", bank.revision, "bank.model")
