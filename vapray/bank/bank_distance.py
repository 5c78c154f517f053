"""Distance of a text to the captions of a class, in the text encoder's space."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vapray.bank.prompt_bank import BankEntry, PromptBank
from vapray.bank.text_encoder import TextEncoder

__all__ = ["BankDistances", "CaptionDistance"]

MAX_CAPTIONS = 512
"""Maximum number of captions of a class to compare a text with, which bounds the cost of a class."""


@dataclass(frozen=True)
class CaptionDistance:
    """Distance of a text to a class's bank."""

    nearest: BankEntry
    distance: float
    """Cosine distance of mean tokens to the nearest caption, 0..2."""
    typical: float
    """Median distance between each caption of the bank and its nearest other text there, 0..2."""
    share_farther: float
    """Share of the bank's captions that are farther from their nearest other text, 0..1."""


@dataclass(frozen=True)
class _Class:
    entries: Sequence[BankEntry]
    directions: NDArray[np.float32]
    """Mean tokens at unit length, [N, D]."""

    @cached_property
    def own(self) -> NDArray[np.float32]:
        """Distance [N] of each caption to its nearest other one, 0..1; 1 for a single caption."""
        apart = 1 - self.directions @ self.directions.T
        np.fill_diagonal(apart, np.inf)
        return np.clip(apart.min(axis=1), 0, 1)


class BankDistances:
    """Distances to a prompt bank; a class is encoded on first use.

    Args:
        bank: captions by class.
        encoder: text encoder of the model that the bank is for.
    """

    def __init__(self, bank: PromptBank, encoder: TextEncoder) -> None:
        self._bank, self._encoder = bank, encoder
        self._classes: dict[int, _Class] = {}
        self._encoding = threading.Lock()

    def distance(self, label: int, text: str) -> CaptionDistance:
        """Compute the distance of a text to a class.

        Raises:
            DataError: a text that the encoder refuses, or a class without captions.
        """
        known = self._class(label)
        apart = 1 - known.directions @ self._directions([text])[0]
        place = int(apart.argmin())
        distance = max(0.0, float(apart[place]))
        return CaptionDistance(
            known.entries[place], distance, float(np.median(known.own)), float((known.own > distance).mean())
        )

    def nearest_others(self, label: int, text: str, count: int) -> list[tuple[BankEntry, float]]:
        """Select the captions of a class nearest to a text, without the text itself; nearest first, with distances.

        Raises:
            DataError: a text that the encoder refuses, or a class without captions.
        """
        known = self._class(label)
        apart = np.maximum(1 - known.directions @ self._directions([text])[0], 0)
        order = [place for place in apart.argsort(kind="stable") if known.entries[place].caption != text]
        return [(known.entries[place], float(apart[place])) for place in order[:count]]

    def spread(self, label: int) -> NDArray[np.float32]:
        """Distance of each compared caption of a class to its nearest other text, [N] of 0..1; equal texts count once.

        Raises:
            DataError: a class without captions.
        """
        return self._class(label).own

    def nearest_label(self, text: str) -> int:
        """Get the class with the caption nearest to a text; the lowest class of equal ones.

        Raises:
            DataError: a text that the encoder refuses.
        """
        (asked,) = self._directions([text])
        return max(self._bank.labels, key=lambda label: (float((self._class(label).directions @ asked).max()), -label))

    def _class(self, label: int) -> _Class:
        with self._encoding:  # a concurrent caller waits, so that a class is encoded once
            if label not in self._classes:
                self._classes[label] = self._encode_class(label)
            return self._classes[label]

    def _encode_class(self, label: int) -> _Class:
        distinct = list({entry.caption: entry for entry in reversed(self._bank.entries(label))}.values())[::-1]
        chosen = distinct[:: -(-len(distinct) // MAX_CAPTIONS)]
        return _Class(chosen, self._directions([entry.caption for entry in chosen]))

    def _directions(self, texts: Sequence[str]) -> NDArray[np.float32]:
        means = np.stack([context.astype(np.float32).mean(axis=0) for context in self._encoder.encode(texts)])
        return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
