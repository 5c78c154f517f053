"""What decides captions besides the configuration's values: the prompt set's text, and the user's own captions."""

import hashlib

from vapray.captioning.prompt_set import load_prompt_set
from vapray.config import Config
from vapray.errors import ConfigError

__all__ = ["captions_signature", "prompts_signature"]


def prompts_signature(config: Config) -> str:
    """Version of the prompt set, with a hash of its text."""
    return load_prompt_set(config.prompt_set).version


def captions_signature(config: Config) -> str:
    """sha256 of ``caption.captions``, or nothing where none are given.

    Raises:
        ConfigError: the file cannot be read.
    """
    path = config.caption.captions
    if not path:
        return ""
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        raise ConfigError(
            f"caption.captions {path}: cannot be read ({error.strerror}). Give an existing CSV."
        ) from None
