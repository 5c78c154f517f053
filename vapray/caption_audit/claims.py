"""Claims of captions: statements about single attributes, which an image confirms or contradicts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from vapray.captioning.attributes import Attribute, Attributes, agreement
from vapray.captioning.prompt_set import AttributeSpec, PromptSet

__all__ = ["SHARE_TOLERANCE", "AuditedImage", "Claim", "by_chance", "claims_of", "count_statements", "self_agreement"]

SHARE_TOLERANCE = 0.1
"""Tolerance of a stated share; a larger deviation is a contradiction."""


@dataclass(frozen=True)
class AuditedImage:
    """One audited image.

    Attributes:
        image_id: Key of the image.
        group: Lesion or patient; images of one group are not independent.
        said: Attributes in the caption, as parsed by the lexicon.
        known: True or measured attributes of the image; unknown ones are absent.
    """

    image_id: str
    group: str
    said: Attributes
    known: Attributes


@dataclass(frozen=True)
class Claim:
    """One statement of a caption that could be checked.

    Attributes:
        attribute: Attribute of the prompt set.
        said: Stated value; one colour for a set of colours.
        known: Value in the image.
        contradicted: True if the values differ: a hallucination, or an error of the measurement.
    """

    attribute: str
    said: str | float
    known: Attribute
    contradicted: bool


def claims_of(said: Attributes, known: Attributes, prompt_set: PromptSet) -> Iterator[Claim]:
    """List every statement about a known attribute; each named colour is a separate statement.

    A share may deviate by ``SHARE_TOLERANCE``; a size word is also right if it is the word for the image's share.
    """
    for name, spec in prompt_set.attributes.items():
        if name in said and name in known:
            for value in _each(said[name]):
                yield Claim(name, value, known[name], _contradicted(spec, value, known[name]))


def count_statements(said: Attributes) -> int:
    """Count the statements of a caption, known to be right or not; each named colour is one."""
    return sum(len(_each(value)) for value in said.values())


def by_chance(pictures: Sequence[AuditedImage], prompt_set: PromptSet, *, rounds: int, seed: int) -> dict[str, float]:
    """Share of the statements that other images of the dataset would contradict, by attribute.

    A captioner that ignores the image and states common values does no better than this.
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
    """Agreement of several captions of one image, 0..1 by attribute, over all pairs that both mention it."""
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
