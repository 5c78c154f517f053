"""Text towers of open_clip and of transformers: one token of context for every token of the text.

The last hidden states are stored, CLS and SEP among them as in the released code. Padding is masked as a key in every
layer, so neither the batch nor the window's length changes what a text gives.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vapray.bank.text_encoder import Encoded, TextEncoder, wrong_length
from vapray.bank.tower_files import TowerFiles, find_tower, require_packages
from vapray.config import Bank
from vapray.errors import BackendError, CheckpointError, ConfigError, DataError, VaprayError

__all__ = ["TransformerEncoder"]

TEXTS_OF_A_BATCH = 32


class TransformerEncoder(TextEncoder):
    """``bank.encoder: open_clip`` or ``transformers``.

    Files are looked for at once, so that what is missing is told early; weights are loaded with the first text.
    """

    def __init__(self, settings: Bank, device: str = "cpu") -> None:
        """See :func:`vapray.bank.text_encoder.text_encoder_of`."""
        require_packages(settings.encoder)
        _require_device(device)
        self._settings, self._device = settings, device
        self._files = find_tower(settings)
        longest = self._files.longest
        if longest is not None and settings.max_tokens > longest:
            most = f"{settings.model} takes {longest} tokens at the most"
            raise ConfigError(f"bank.max_tokens = {settings.max_tokens}: {most}. Lower it.")

    @property
    def id(self) -> str:
        """Kind, sha256 of all files that decide contexts, settings; not where the files lie."""
        chosen = self._settings
        return (
            f"{chosen.encoder}-v1(sha256={self._files.sha256},max_tokens={chosen.max_tokens},"
            f"context_length={chosen.context_length})"
        )

    @property
    def width(self) -> int:
        """D, the width of one token."""
        return self._files.width

    @property
    def max_tokens(self) -> int:
        """The longest text accepted, special tokens included."""
        return self._settings.max_tokens

    def encode_each(self, texts: Sequence[str]) -> list[Encoded]:
        """Encode batches of texts of like length; see ``TextEncoder.encode_each``."""
        ids = [self._tokens(text) for text in texts]
        fit = [row for row, found in enumerate(ids) if isinstance(found, list)]
        by_length = sorted(fit, key=lambda row: len(ids[row]))  # type: ignore[arg-type]
        encoded: list[Any] = list(ids)
        for begin in range(0, len(by_length), TEXTS_OF_A_BATCH):
            rows = by_length[begin : begin + TEXTS_OF_A_BATCH]
            for row, context in zip(rows, self._contexts([encoded[row] for row in rows]), strict=True):
                encoded[row] = context
        return encoded

    def encode_empty(self) -> NDArray[np.float16]:
        """Its special tokens and padding; see ``TextEncoder.encode_empty``."""
        if self._settings.context_length != "full":
            return super().encode_empty()
        empty = self._contexts([list(self._tower.tokenizer("", verbose=False)["input_ids"])])[0]
        if len(empty) != self.max_tokens:  # open_clip's cls_pooler takes a token away
            raise ConfigError(
                f"model.null_text = empty: {self._files.folder} gives {len(empty)} of {self.max_tokens} padded tokens, "
                "and the network wants all. Set learned."
            )
        return empty

    def _tokens(self, text: str) -> list[int] | DataError:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return DataError(f"{text[:60]!r}: no Unicode at character {error.start}. Remove it from the text")
        found = self._tower.tokenizer(
            self._tower.clean(text), truncation=False, return_special_tokens_mask=True, verbose=False
        )
        words = len(found["input_ids"]) - sum(found["special_tokens_mask"])
        if not words or len(found["input_ids"]) > self.max_tokens:
            return wrong_length(text, len(found["input_ids"]) if words else 0, self.max_tokens)
        return list(found["input_ids"])

    @torch.inference_mode()
    def _contexts(self, ids: Sequence[list[int]]) -> list[NDArray[np.float16]]:
        full = self._settings.context_length == "full"
        length = self.max_tokens if full else max(map(len, ids))
        real_BL = torch.arange(length) < torch.tensor([len(row) for row in ids])[:, None]
        ids_BL = torch.full(real_BL.shape, self._tower.padding)
        ids_BL[real_BL] = torch.tensor([token for row in ids for token in row])
        hidden_BLD = self._tower.hidden(ids_BL.to(self._device), real_BL.to(self._device)).cpu()
        kept_BL = (real_BL | full)[:, -hidden_BLD.shape[1] :]  # open_clip's cls_pooler takes the first token away
        contexts = hidden_BLD.to(torch.float16)
        if not contexts[kept_BL].isfinite().all():
            raise CheckpointError(f"{self._files.folder}: its weights give values that float16 cannot hold.")
        return [context[kept].numpy() for context, kept in zip(contexts, kept_BL, strict=True)]

    @cached_property
    def _tower(self) -> "_Tower":
        load = _load_open_clip if self._settings.encoder == "open_clip" else _load_transformers
        try:
            with _quiet():
                return load(self._files, self._device)
        except (VaprayError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # whatever the libraries raise of damaged files
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise CheckpointError(
                f"{self._files.folder}: cannot be loaded by {self._settings.encoder} ({reason}). "
                "Copy or download the model again, or give bank.model another one."
            ) from error


def _require_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise BackendError(
            f"device {device!r} is not on this machine ({reason}). Use cpu: pools.bank.num_gpus=0, or device='cpu'."
        ) from None


@dataclass(frozen=True)
class _Tower:
    """A loaded text tower.

    Attributes:
        tokenizer: of transformers.
        clean: what is done to a text before.
        padding: the token that fills up a batch.
        hidden: token ids [B, L] and which are real [B, L] to the last hidden states [B, L or L - 1, D].
    """

    tokenizer: Any
    clean: Callable[[str], str]
    padding: int
    hidden: Callable[[Tensor, Tensor], Tensor]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars that transformers draws, and its list of the tensors of other towers."""
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


def _load_open_clip(files: TowerFiles, device: str) -> _Tower:
    import open_clip

    name = f"local-dir:{files.folder}"
    # The text tower's config from its file: the name in open_clip_config.json would be looked up in the hub.
    text_cfg = {
        **files.clip,
        "hf_model_name": str(files.text_config.parent),
        "hf_model_pretrained": False,
        "output_tokens": True,
    }
    model = open_clip.create_model(name, text_cfg=text_cfg, require_pretrained=True, weights_only=True)
    tower = model.text.eval().requires_grad_(False).to(device)
    # Said aloud, for open_clip_config.json may ask for the opposite.
    tokenizer = open_clip.get_tokenizer(name, trust_remote_code=False)
    if tokenizer.strip_sep_token or tokenizer.tokenizer_mode:
        raise ConfigError(
            f"{files.folder}/open_clip_config.json: its tokenizer_mode or strip_sep_token is not supported; wanted a "
            "plain tokenizer of transformers."
        )
    return _Tower(
        tokenizer.tokenizer,
        tokenizer.clean_fn,
        tower.config.pad_token_id,
        lambda ids_BL, real_BL: tower(ids_BL)[1],  # it takes its mask from the padding token
    )


def _load_transformers(files: TowerFiles, device: str) -> _Tower:
    import transformers

    config = transformers.AutoConfig.from_pretrained(files.folder, trust_remote_code=False)
    kind: Any = transformers.AutoModel
    if config.model_type == "clip":
        kind = transformers.CLIPTextModel
    elif config.is_encoder_decoder:
        kind = transformers.AutoModelForTextEncoding
    tower, notes = kind.from_pretrained(files.folder, dtype=torch.float32, weights_only=True, output_loading_info=True)
    # What a file lacks, transformers draws at random; the pooler behind the last hidden state may be absent.
    if absent := sorted(name for name in notes["missing_keys"] if "pooler" not in name):
        raise CheckpointError(f"{files.folder}: its weights lack {len(absent)} tensors, such as {absent[0]}.")
    tower = tower.eval().requires_grad_(False).to(device)
    tokenizer = transformers.AutoTokenizer.from_pretrained(files.folder, trust_remote_code=False)
    return _Tower(
        tokenizer,
        str,
        tokenizer.pad_token_id or 0,
        lambda ids_BL, real_BL: tower(input_ids=ids_BL, attention_mask=real_BL.long()).last_hidden_state,
    )
