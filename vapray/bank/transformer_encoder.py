"""Text towers of open_clip and transformers: one context token per token of the text.

Contexts are the last hidden states, including CLS and SEP as in the released code. Padding is masked as a key in every
layer, so that neither the batch nor the window's length changes a text's context.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vapray.bank.text_encoder import Encoded, TextEncoder, length_error
from vapray.bank.tower_files import find_tower, require_packages
from vapray.bank.tower_loading import Tower, load_open_clip, load_transformers, quiet_transformers
from vapray.config import TextEncoderSection
from vapray.errors import BackendError, CheckpointError, ConfigError, DataError, VaprayError

__all__ = ["PortableTower", "TransformerEncoder"]

TEXTS_OF_A_BATCH = 32


@dataclass(frozen=True)
class PortableTower:
    """Text tower in classes of transformers alone."""

    network: Any
    """Model whose last hidden states are the contexts."""
    tokenizer: Any
    """Tokenizer of transformers."""
    skip: int
    """Leading hidden states that are no part of a context."""


class TransformerEncoder(TextEncoder):
    """Text encoder of ``text_encoder.encoder: open_clip`` or ``transformers``.

    Files are checked at construction, so that missing files are reported early; weights are loaded with the first text.
    """

    def __init__(self, settings: TextEncoderSection, device: str = "cpu") -> None:
        """See :func:`vapray.bank.factory.build_text_encoder`."""
        require_packages(settings.encoder)
        _require_device(device)
        self._settings, self._device = settings, device
        self._files = find_tower(settings)
        longest = self._files.longest
        if longest is not None and settings.max_tokens > longest:
            most = f"{settings.model} takes at most {longest} tokens"
            raise ConfigError(f"text_encoder.max_tokens = {settings.max_tokens}: {most}. Fix: lower it.")

    @property
    def id(self) -> str:
        """Kind, sha256 of all files that determine contexts, and settings; independent of the files' location."""
        chosen = self._settings
        return (
            f"{chosen.encoder}-v1(sha256={self._files.sha256},max_tokens={chosen.max_tokens},"
            f"context_length={chosen.context_length})"
        )

    @property
    def width(self) -> int:
        """D, the width of a token."""
        return self._files.width

    @property
    def max_tokens(self) -> int:
        """Maximum length of a text in tokens, special tokens included."""
        return self._settings.max_tokens

    def count_tokens(self, text: str) -> int:
        """Count the tokens; see ``TextEncoder.count_tokens``."""
        found = self._tokens(text)
        return 0 if isinstance(found, DataError) else len(found)

    def encode_each(self, texts: Sequence[str]) -> list[Encoded]:
        """Encode batches of texts of similar length; see ``TextEncoder.encode_each``."""
        ids = [self._fitting(text) for text in texts]
        fit = [row for row, found in enumerate(ids) if isinstance(found, list)]
        by_length = sorted(fit, key=lambda row: len(ids[row]))  # type: ignore[arg-type]
        encoded: list[Any] = list(ids)
        for begin in range(0, len(by_length), TEXTS_OF_A_BATCH):
            rows = by_length[begin : begin + TEXTS_OF_A_BATCH]
            for row, context in zip(rows, self._contexts([encoded[row] for row in rows]), strict=True):
                encoded[row] = context
        return encoded

    def encode_empty(self) -> NDArray[np.float16]:
        """Encode the special tokens and padding; see ``TextEncoder.encode_empty``."""
        if self._settings.context_length != "full":
            return super().encode_empty()
        empty = self._contexts([list(self._tower.tokenizer("", verbose=False)["input_ids"])])[0]
        if len(empty) != self.max_tokens:  # open_clip's cls_pooler removes a token
            raise ConfigError(
                f"model.null_text = empty: {self._files.folder} gives {len(empty)} of {self.max_tokens} padded tokens; "
                "the network needs all. Fix: set learned."
            )
        return empty

    def portable(self) -> PortableTower:
        """Loaded model and tokenizer, for an export.

        Raises:
            ConfigError: a tokenizer of open_clip that cleans texts in its own way.
        """
        tower = self._tower
        if tower.clean is not str and tower.clean.__name__ != "_clean_whitespace":
            raise ConfigError(
                f"{self._files.folder}: its tokenizer cleans texts by {tower.clean.__name__}; it cannot be exported. "
                "Fix: train with a tokenizer of clean = whitespace."
            )
        hidden = tower.hidden(*(torch.tensor([[tower.padding + 1] * 3], device=self._device),) * 2)
        return PortableTower(tower.network, tower.tokenizer, 3 - hidden.shape[1])

    def _fitting(self, text: str) -> list[int] | DataError:
        ids = self._tokens(text)
        if isinstance(ids, list) and not 1 <= len(ids) <= self.max_tokens:
            return length_error(text, len(ids), self.max_tokens)
        return ids

    def _tokens(self, text: str) -> list[int] | DataError:
        """Tokenize a text; empty for a text of special tokens alone."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return DataError(f"{text[:60]!r}: invalid Unicode at character {error.start}. Fix: remove it from the text")
        found = self._tower.tokenizer(
            self._tower.clean(text), truncation=False, return_special_tokens_mask=True, verbose=False
        )
        return [] if all(found["special_tokens_mask"]) else list(found["input_ids"])

    @torch.inference_mode()
    def _contexts(self, ids: Sequence[list[int]]) -> list[NDArray[np.float16]]:
        full = self._settings.context_length == "full"
        length = self.max_tokens if full else max(map(len, ids))
        real_BL = torch.arange(length) < torch.tensor([len(row) for row in ids])[:, None]
        ids_BL = torch.full(real_BL.shape, self._tower.padding)
        ids_BL[real_BL] = torch.tensor([token for row in ids for token in row])
        hidden_BLD = self._tower.hidden(ids_BL.to(self._device), real_BL.to(self._device)).cpu()
        kept_BL = (real_BL | full)[:, -hidden_BLD.shape[1] :]  # open_clip's cls_pooler removes the first token
        contexts = hidden_BLD.to(torch.float16)
        if not contexts[kept_BL].isfinite().all():
            raise CheckpointError(f"{self._files.folder}: its weights give values outside float16's range.")
        return [context[kept].numpy() for context, kept in zip(contexts, kept_BL, strict=True)]

    @cached_property
    def _tower(self) -> Tower:
        load = load_open_clip if self._settings.encoder == "open_clip" else load_transformers
        try:
            with quiet_transformers():
                return load(self._files, self._device)
        except (VaprayError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # the libraries raise errors of many types for damaged files
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise CheckpointError(
                f"{self._files.folder}: cannot be loaded by {self._settings.encoder} ({reason}). "
                "Fix: copy or download the model again, or set text_encoder.model to another one."
            ) from error


def _require_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise BackendError(
            f"device {device!r} is not available ({reason}). Fix: use cpu: pools.bank.num_gpus=0, or device='cpu'."
        ) from None
