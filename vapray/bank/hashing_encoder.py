"""Embedded text encoder that hashes words. It has no semantics and needs no download."""

import hashlib
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vapray.bank.text_encoder import Encoded, TextEncoder, length_error
from vapray.errors import ConfigError

__all__ = ["HashingEncoder"]

WITHOUT_CONTENT = """
a about across all along also an and approximately are around as at be been by can for from has have in into
is it its of on or over roughly shows some that the there these this those to was were which with
"""
FUNCTION_WORDS = frozenset(WITHOUT_CONTENT.split())
TOKEN = re.compile(r"(\d+(?:\.\d+)?)(?:\s*(%|per\s?cent\b))?|[^\W\d_]+(?:['-][^\W\d_]+)*", re.IGNORECASE)
# Periods of the number code, in units of the number. The longest exceeds 0..100 %, the shortest still
# separates 30 % from 33 %.
LONGEST_PERIOD, SHORTEST_PERIOD = 250.0, 20.0
# Above this, float64 sinusoids no longer separate neighbouring values.
LARGEST_NUMBER = 1e9


class HashingEncoder(TextEncoder):
    """Text encoder with one fixed random vector per word.

    Words: the signs of a BLAKE2 digest (a Rademacher vector, rms 1). Different words are unrelated even if their
    meanings are similar, and a word not seen in training is noise to the model.
    Numbers: sine and cosine of the value at geometrically spaced periods, so that neighbouring values are similar; a
    percentage and a bare number of the same value are unrelated.
    Order: a sinusoidal position code of rms ``position_scale`` is added, for models without a position table.
    Function words are dropped; negations are kept.
    """

    def __init__(
        self,
        width: int = 64,
        max_tokens: int = 64,
        drop_function_words: bool = True,
        position_scale: float = 0.25,
    ) -> None:
        """Settings become part of ``id``.

        Args:
            width: D, the width of a token; a positive even number.
            max_tokens: maximum length of a text, in tokens; longer texts are refused.
            drop_function_words: drop "the", "of", "with" and similar words.
            position_scale: rms of the position code, at least 0; words have rms 1.

        Raises:
            ConfigError: an invalid setting.
        """
        if width < 2 or width % 2:
            raise ConfigError(f"hashing text encoder: width is {width}; expected a positive even number")
        if max_tokens < 1:
            raise ConfigError(f"hashing text encoder: max_tokens is {max_tokens}; expected at least 1")
        if not (math.isfinite(position_scale) and position_scale >= 0):
            raise ConfigError(f"hashing text encoder: position_scale is {position_scale}; expected 0 or more")
        self._width, self._max_tokens = width, max_tokens
        self.drop_function_words = drop_function_words
        self.position_scale = position_scale
        self._word_vectors: dict[str, NDArray[np.float32]] = {}
        self._positions = position_scale * _sinusoids(np.arange(max_tokens), width, 4.0, 4.0 * max_tokens)

    @property
    def width(self) -> int:
        """D, the width of a token."""
        return self._width

    @property
    def max_tokens(self) -> int:
        """Maximum length of a text, in tokens."""
        return self._max_tokens

    @property
    def id(self) -> str:
        """Name, version and settings."""
        return (
            f"hashing-v1(width={self.width},max_tokens={self.max_tokens},"
            f"drop_function_words={self.drop_function_words},position_scale={self.position_scale:g})"
        )

    def tokens(self, text: str) -> list[str]:
        """Split ``text`` into its words and numbers: lower case, "35 %" as one token."""
        found = [_spell(match) for match in TOKEN.finditer(text)]
        if self.drop_function_words:
            return [token for token in found if token not in FUNCTION_WORDS]
        return found

    def count_tokens(self, text: str) -> int:
        """Count the words and numbers; see ``TextEncoder.count_tokens``."""
        return len(self.tokens(text))

    def encode_each(self, texts: Sequence[str]) -> list[Encoded]:
        """Encode each text to float16 [L, width] or a refusal; see ``TextEncoder.encode_each``."""
        return [self._encode_one(text) for text in texts]

    def _encode_one(self, text: str) -> Encoded:
        tokens = self.tokens(text)
        if not 1 <= len(tokens) <= self.max_tokens:
            return length_error(text, len(tokens), self.max_tokens)
        words = np.stack([self._vector(token) for token in tokens])
        return (words + self._positions[: len(tokens)]).astype(np.float16)

    def _vector(self, token: str) -> NDArray[np.float32]:
        number, percent = token.removesuffix("%"), token.endswith("%")
        if number[0].isdecimal():
            return _number_code(float(number), "%" if percent else "", self.width)
        if token not in self._word_vectors:
            self._word_vectors[token] = _signs(f"word {token}", self.width)
        return self._word_vectors[token]


def _spell(match: re.Match[str]) -> str:
    number, percent = match.group(1), match.group(2)
    if number is None:
        return match.group().lower()
    return number + "%" if percent else number


def _signs(key: str, width: int) -> NDArray[np.float32]:
    """Compute a vector of -1 and 1 from the bits of as many digests of ``key`` as ``width`` needs."""
    digests = (
        hashlib.blake2b(key.encode(), salt=block.to_bytes(4, "big")).digest() for block in range(-(-width // 512))
    )
    bits = np.unpackbits(np.frombuffer(b"".join(digests), np.uint8))[:width]
    return (2.0 * bits - 1.0).astype(np.float32)


def _number_code(number: float, unit: str, width: int) -> NDArray[np.float32]:
    """Compute sinusoids of the value; the unit's signs separate "35 %" from "35"."""
    value = np.array([min(number, LARGEST_NUMBER)])
    return _sinusoids(value, width, SHORTEST_PERIOD, LONGEST_PERIOD)[0] * _signs(f"unit {unit}", width)


def _sinusoids(values: NDArray[Any], width: int, shortest: float, longest: float) -> NDArray[np.float32]:
    """Map [N] to [N, width] of rms 1: sine and cosine at geometrically spaced periods."""
    angles = 2 * np.pi * values[:, None] / np.geomspace(shortest, longest, width // 2)
    return (math.sqrt(2) * np.concatenate([np.sin(angles), np.cos(angles)], axis=1)).astype(np.float32)
