"""Captions to contexts: the token sequences that the denoiser attends to.

Encoders give the real tokens of a text only: no padding, so that short captions cost little. The one exception is
asked for by name, ``bank.context_length: full``.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vapray.config import Bank
from vapray.errors import ConfigError, DataError

__all__ = ["Encoded", "TextEncoder", "text_encoder_of", "wrong_length"]

Encoded: TypeAlias = NDArray[np.float16] | DataError
"""A context float16 [L, D], or why there is none."""


class TextEncoder(ABC):
    """What the bank asks of a text encoder."""

    @property
    @abstractmethod
    def id(self) -> str:
        """Kind, weights and settings: equal ids give equal contexts. Recorded in checkpoints."""

    @property
    @abstractmethod
    def width(self) -> int:
        """D, the width of one token."""

    @property
    @abstractmethod
    def max_tokens(self) -> int:
        """The longest text accepted, in tokens."""

    @abstractmethod
    def encode_each(self, texts: Sequence[str]) -> list[Encoded]:
        """For each text a float16 array [L, width] with 1 <= L <= max_tokens, or the error that refuses it.

        A text's context does not depend on the others. One without a token or with more than ``max_tokens`` is
        refused, never cut.
        """

    def encode_empty(self) -> NDArray[np.float16]:
        """What the released code shows the network where a text is dropped: the empty text, padded to ``max_tokens``.

        Raises:
            ConfigError: an encoder that knows no padding.
        """
        raise ConfigError(f"model.null_text = empty: text encoder {self.id} has no padded empty text. Set learned.")

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.float16]]:
        """One float16 array [L, width] for each text.

        Raises:
            DataError: the first text that is refused.
        """
        contexts = []
        for row, encoded in enumerate(self.encode_each(texts)):
            if isinstance(encoded, DataError):
                raise DataError(f"text {row}, {encoded}")
            contexts.append(encoded)
        return contexts


def text_encoder_of(settings: Bank, device: str = "cpu") -> TextEncoder:
    """The encoder that section ``bank`` of the config asks for; weights are loaded with its first text.

    Args:
        settings: the section.
        device: of torch.

    Raises:
        ConfigError: a model that is not there or is none, or settings that it cannot take.
        BackendError: a package or a model that cannot be had on this machine.
    """
    # Both import this module.
    from vapray.bank.hashing_encoder import HashingEncoder
    from vapray.bank.transformer_encoder import TransformerEncoder

    if settings.encoder == "hashing":
        return HashingEncoder(settings.width, settings.max_tokens)
    return TransformerEncoder(settings, device)


def wrong_length(text: str, tokens: int, max_tokens: int) -> DataError:
    """The refusal of a text without a token, or with too many."""
    return DataError(
        f"{text[:60]!r}: {tokens} tokens; wanted 1 to {max_tokens}. Shorten the text or raise bank.max_tokens"
    )
