"""Captions as claims: statements about single attributes, each of which a picture bears out or contradicts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from vapray.captioning.attributes import Attribute, Attributes, agreement
from vapray.captioning.prompt_set import AttributeSpec, PromptSet

__all__ = ["SHARE_TOLERANCE", "Claim", "Described", "by_chance", "claims_of", "self_agreement"]

SHARE_TOLERANCE = 0.1
"""A stated share that is off by more than ten percentage points is contradicted."""


@dataclass(frozen=True)
class Described:
    """One audited picture.

    Attributes:
        image_id: its key.
        group: pictures of one lesion or patient, which are not independent.
        said: what the caption states, as the lexicon reads it.
        known: what is known of the picture, by truth or by measurement; what could not be found is absent.
    """

    image_id: str
    group: str
    said: Attributes
    known: Attributes


@dataclass(frozen=True)
class Claim:
    """One statement that could be checked.

    Attributes:
        attribute: of the prompt set.
        said: one value; of a set of colours, one colour.
        known: the picture's.
        contradicted: whether the picture shows otherwise: a hallucination, or an error of the measurement.
    """

    attribute: str
    said: str | float
    known: Attribute
    contradicted: bool


def claims_of(said: Attributes, known: Attributes, prompt_set: PromptSet) -> Iterator[Claim]:
    """Every statement about an attribute that is known of the picture; each colour that is named is one of its own.

    A share may be off by ``SHARE_TOLERANCE``; a size word alone is right where it is the word for the picture's share.
    """
    for name, spec in prompt_set.attributes.items():
        if name in said and name in known:
            for value in _each(said[name]):
                yield Claim(name, value, known[name], _contradicted(spec, value, known[name]))


def by_chance(pictures: Sequence[Described], prompt_set: PromptSet, *, rounds: int, seed: int) -> dict[str, float]:
    """How often the same statements would be contradicted by other pictures of the data set, by attribute.

    A captioner that says what is common, whatever it is shown, does no better than this.
    """
    order = np.random.default_rng(seed).permutation(len(pictures))
    outcomes: dict[str, list[bool]] = {}
    for shift in range(1, min(rounds, len(pictures) - 1) + 1):
        for place, number in enumerate(order):
            other = pictures[order[(place + shift) % len(order)]]
            for claim in claims_of(pictures[number].said, other.known, prompt_set):
                outcomes.setdefault(claim.attribute, []).append(claim.contradicted)
    return {name: float(np.mean(found)) for name, found in outcomes.items()}


def self_agreement(said: Sequence[Attributes], prompt_set: PromptSet) -> Mapping[str, float]:
    """How far several captions of one picture say the same, 0..1 by attribute, over all pairs that both mention it."""
    scores: dict[str, list[float]] = {}
    for one, other in combinations(said, 2):
        for name, score in agreement(one, other, prompt_set).items():
            if name in one:
                scores.setdefault(name, []).append(score)
    return {name: float(np.mean(found)) for name, found in scores.items()}


def _each(said: Attribute) -> tuple[str | float, ...]:
    return said if isinstance(said, tuple) else (said,)


def _contradicted(spec: AttributeSpec, said: str | float, known: Attribute) -> bool:
    if spec.kind == "set":
        return said not in known  # type: ignore[operator]
    if spec.kind == "choice":
        return said != known
    share, true = float(said), float(known)  # type: ignore[arg-type]
    same_word = share in spec.typical and spec.worded(true) == spec.worded(share)
    return abs(share - true) > SHARE_TOLERANCE + 1e-9 and not same_word
