"""Content hashes of the inputs of captioning: prompts, model files and given captions."""

import hashlib

from vapray.captioning.precomputed import PrecomputedCaptions
from vapray.captioning.prompt_selection import select_prompt_set
from vapray.captioning.vlm_files import find_vlm
from vapray.config import Config
from vapray.errors import ConfigError
from vapray.pretrained.model_files import is_directory, resolve_commit

__all__ = ["captions_content_hash", "model_content_hash", "prompts_content_hash"]


def prompts_content_hash(config: Config) -> str:
    """Return the version of the prompt set, with a hash of its text.

    Raises:
        ConfigError: see :func:`vapray.captioning.prompt_selection.select_prompt_set`.
    """
    return select_prompt_set(config).version


def model_content_hash(config: Config) -> str:
    """Hash the directory of the model that vLLM loads, or return the hub's commit; empty for other captioners.

    Raises:
        ConfigError: the directory or a file in it is missing.
    """
    caption = config.caption
    if caption.captioner != "vllm":
        return ""
    if is_directory(caption.model):
        return find_vlm(caption.model or "").revision
    return resolve_commit(caption.model or "", caption.revision, "caption.model")


def captions_content_hash(config: Config) -> str:
    """Hash the file ``caption.captions_file``; empty if none is set.

    Raises:
        ConfigError: the file cannot be read.
        DataError: see :meth:`vapray.captioning.precomputed.PrecomputedCaptions.read`.
    """
    path = config.caption.captions_file
    if not path:
        return ""
    try:
        with open(path, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        raise ConfigError(
            f"caption.captions_file {path}: cannot be read ({error.strerror}). Give an existing CSV."
        ) from None
    PrecomputedCaptions.read(path)  # a faulty table ends the run before its first stage
    return digest
