"""Text encoder interface: captions to contexts, the token sequences that the denoiser attends to.

Encoders return the real tokens of a text without padding, so that short captions cost little. The one exception is
``text_encoder.context_length: full``.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vapray.errors import ConfigError, DataError

__all__ = ["Encoded", "TextEncoder", "length_error"]

Encoded: TypeAlias = NDArray[np.float16] | DataError
"""Context float16 [L, D], or the error that explains its absence."""


class TextEncoder(ABC):
    """Interface of a text encoder."""

    @property
    @abstractmethod
    def id(self) -> str:
        """Kind, weights and settings: equal ids give equal contexts. Recorded in checkpoints."""

    @property
    @abstractmethod
    def width(self) -> int:
        """D, the width of a token."""

    @property
    @abstractmethod
    def max_tokens(self) -> int:
        """Maximum length of a text, in tokens."""

    @abstractmethod
    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text, special tokens included; 0 for a text without a token."""

    @abstractmethod
    def encode_each(self, texts: Sequence[str]) -> list[Encoded]:
        """Encode each text to float16 [L, width] with 1 <= L <= max_tokens, or to the error that refuses it.

        A text's context does not depend on the other texts. A text without a token or with more than ``max_tokens``
        is refused, never cut.
        """

    def encode_empty(self) -> NDArray[np.float16]:
        """Encode the empty text, padded to ``max_tokens``; the released code uses it where a text is dropped.

        Raises:
            ConfigError: an encoder without padding.
        """
        raise ConfigError(
            f"model.null_text = empty: text encoder {self.id} has no padded empty text. Fix: set learned."
        )

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.float16]]:
        """Encode each text to float16 [L, width].

        Raises:
            DataError: the first text that is refused.
        """
        contexts = []
        for row, encoded in enumerate(self.encode_each(texts)):
            if isinstance(encoded, DataError):
                raise DataError(f"text {row}, {encoded}")
            contexts.append(encoded)
        return contexts


def length_error(text: str, tokens: int, max_tokens: int) -> DataError:
    """Build the refusal of a text without a token, or with too many."""
    return DataError(
        f"{text[:60]!r}: {tokens} tokens; expected 1 to {max_tokens}. Shorten the text or raise text_encoder.max_tokens"
    )
