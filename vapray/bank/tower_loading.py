"""Loading of text towers by open_clip and transformers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vapray.bank.tower_files import TowerFiles
from vapray.errors import CheckpointError, ConfigError

__all__ = ["Tower", "load_open_clip", "load_transformers", "quiet_transformers"]


@dataclass(frozen=True)
class Tower:
    """Loaded text tower.

    Attributes:
        tokenizer: tokenizer of transformers.
        clean: function that cleans a text before tokenization.
        padding: id of the padding token.
        hidden: function from token ids [B, L] and their mask of real tokens [B, L] to the last hidden states
            [B, L or L - 1, D].
        network: model of transformers that gives the hidden states.
    """

    tokenizer: Any
    clean: Callable[[str], str]
    padding: int
    hidden: Callable[[Tensor, Tensor], Tensor]
    network: Any


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Suppress the progress bars of transformers and its list of unused tensors."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def load_open_clip(files: TowerFiles, device: str) -> Tower:
    """Load a text tower of open_clip.

    Raises:
        ConfigError: a tokenizer with an unsupported mode.
    """
    import open_clip

    name = f"local-dir:{files.folder}"
    # Use the text tower's config from its file: open_clip would look up the name in open_clip_config.json in the hub.
    text_cfg = {
        **files.clip,
        "hf_model_name": str(files.text_config.parent),
        "hf_model_pretrained": False,
        "output_tokens": True,
    }
    model = open_clip.create_model(name, text_cfg=text_cfg, require_pretrained=True, weights_only=True)
    tower = model.text.eval().requires_grad_(False).to(device)
    # Set explicitly, because open_clip_config.json may enable it.
    tokenizer = open_clip.get_tokenizer(name, trust_remote_code=False)
    if tokenizer.strip_sep_token or tokenizer.tokenizer_mode:
        raise ConfigError(
            f"{files.folder}/open_clip_config.json: its tokenizer_mode or strip_sep_token is not supported; expected "
            "a plain tokenizer of transformers."
        )
    return Tower(
        tokenizer.tokenizer,
        tokenizer.clean_fn,
        tower.config.pad_token_id,
        lambda ids_BL, real_BL: tower(ids_BL)[1],  # open_clip derives the mask from the padding token
        tower.transformer,
    )


def load_transformers(files: TowerFiles, device: str) -> Tower:
    """Load a text model of transformers.

    Raises:
        CheckpointError: weights are missing.
    """
    import transformers

    config = transformers.AutoConfig.from_pretrained(files.folder, trust_remote_code=False)
    kind: Any = transformers.AutoModel
    if config.model_type == "clip":
        kind = transformers.CLIPTextModel
    elif config.is_encoder_decoder:
        kind = transformers.AutoModelForTextEncoding
    tower, notes = kind.from_pretrained(files.folder, dtype=torch.float32, weights_only=True, output_loading_info=True)
    # transformers draws missing tensors at random; the pooler after the last hidden state may be missing.
    if absent := sorted(name for name in notes["missing_keys"] if "pooler" not in name):
        raise CheckpointError(f"{files.folder}: its weights lack {len(absent)} tensors, such as {absent[0]}.")
    tower = tower.eval().requires_grad_(False).to(device)
    tokenizer = transformers.AutoTokenizer.from_pretrained(files.folder, trust_remote_code=False)
    return Tower(
        tokenizer,
        str,
        tokenizer.pad_token_id or 0,
        lambda ids_BL, real_BL: tower(input_ids=ids_BL, attention_mask=real_BL.long()).last_hidden_state,
        tower,
    )
