"""How far a text lies from the captions of a class, as the text encoder sees them."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vapray.bank.prompt_bank import BankEntry, PromptBank
from vapray.bank.text_encoder import TextEncoder

__all__ = ["BankDistances", "TextDistance"]

MOST = 512
"""Captions of a class that a text is held against, so that the cost of a class is bounded."""


@dataclass(frozen=True)
class TextDistance:
    """From a class's bank."""

    nearest: BankEntry
    distance: float
    """Cosine distance of mean tokens to the nearest caption, 0..2."""
    typical: float
    """Median of the same between each caption of the bank and the nearest other text in it."""
    share_farther: float
    """Share of the bank's captions that lie farther from their nearest other text, 0..1."""


@dataclass(frozen=True)
class _Class:
    entries: Sequence[BankEntry]
    directions: NDArray[np.float32]
    """[N, D], mean tokens at unit length."""

    @cached_property
    def own(self) -> NDArray[np.float32]:
        """[N] distance of each caption to its nearest other one; one caption alone has 1."""
        apart = 1 - self.directions @ self.directions.T
        np.fill_diagonal(apart, np.inf)
        return np.minimum(apart.min(axis=1), 1)


class BankDistances:
    """Distances to a prompt bank; a class is encoded when it is first asked for.

    Args:
        bank: captions by class.
        encoder: of the model that the bank is for.
    """

    def __init__(self, bank: PromptBank, encoder: TextEncoder) -> None:
        self._bank, self._encoder = bank, encoder
        self._classes: dict[int, _Class] = {}
        self._encoding = threading.Lock()

    def of(self, label: int, text: str) -> TextDistance:
        """Of a text from a class.

        Raises:
            DataError: a text that the encoder cannot take, or a class without captions.
        """
        known = self._class(label)
        apart = 1 - known.directions @ self._directions([text])[0]
        place = int(apart.argmin())
        distance = max(0.0, float(apart[place]))
        return TextDistance(
            known.entries[place], distance, float(np.median(known.own)), float((known.own > distance).mean())
        )

    def nearest_label(self, text: str) -> int:
        """The class whose bank holds the caption nearest to a text; of equals the lowest.

        Raises:
            DataError: a text that the encoder cannot take.
        """
        (asked,) = self._directions([text])
        return max(self._bank.labels, key=lambda label: (float((self._class(label).directions @ asked).max()), -label))

    def _class(self, label: int) -> _Class:
        with self._encoding:  # who comes second waits rather than encode the same again
            if label not in self._classes:
                self._classes[label] = self._encode_class(label)
            return self._classes[label]

    def _encode_class(self, label: int) -> _Class:
        distinct = list({entry.caption: entry for entry in reversed(self._bank.entries(label))}.values())[::-1]
        chosen = distinct[:: -(-len(distinct) // MOST)]
        return _Class(chosen, self._directions([entry.caption for entry in chosen]))

    def _directions(self, texts: Sequence[str]) -> NDArray[np.float32]:
        means = np.stack([context.astype(np.float32).mean(axis=0) for context in self._encoder.encode(texts)])
        return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
