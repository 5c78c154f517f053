"""Content hashes of the inputs of captioning: prompts, model files and given captions."""

import hashlib

from vapray.captioning.prompt_choice import prompt_set_of
from vapray.captioning.vlm_files import find_vlm
from vapray.config import Config
from vapray.errors import ConfigError
from vapray.model_files import hub_commit, is_directory

__all__ = ["captions_signature", "model_signature", "prompts_signature"]


def prompts_signature(config: Config) -> str:
    """Return the version of the prompt set, with a hash of its text.

    Raises:
        ConfigError: see :func:`vapray.captioning.prompt_choice.prompt_set_of`.
    """
    return prompt_set_of(config).version


def model_signature(config: Config) -> str:
    """Hash the directory of the model that vLLM loads, or return the hub's commit; empty for other captioners.

    Raises:
        ConfigError: the directory or a file in it is missing.
    """
    caption = config.caption
    if caption.captioner != "vllm":
        return ""
    if is_directory(caption.model):
        return find_vlm(caption.model or "").revision
    return hub_commit(caption.model or "", caption.revision, "caption.model")


def captions_signature(config: Config) -> str:
    """Hash the file ``caption.captions``; empty if none is set.

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
