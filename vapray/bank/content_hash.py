"""Content hash of a text encoder's files, which determine contexts together with the configuration."""

from vapray.bank.tower_files import find_tower
from vapray.config import Config
from vapray.pretrained.model_files import is_directory, resolve_commit

__all__ = ["encoder_content_hash"]


def encoder_content_hash(config: Config) -> str:
    """Compute the sha256 of the model in ``text_encoder.model``, or its hub commit; empty for hashing.

    Raises:
        ConfigError: no such directory, or files missing in it.
        BackendError: the config of its text tower is missing.
    """
    bank = config.text_encoder
    if bank.encoder == "hashing":
        return ""
    if is_directory(bank.model):
        return find_tower(bank).sha256
    return resolve_commit(bank.model or "", bank.revision, "text_encoder.model")
