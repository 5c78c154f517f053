"""Numbers of the caption audit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vapray.caption_audit.claims import AuditedImage, Claim, by_chance, claims_of, count_statements, self_agreement
from vapray.caption_audit.proportions import Proportion, proportion
from vapray.captioning.attributes import Attributes
from vapray.captioning.prompt_set import PromptSet
from vapray.metrics.intervals import Interval, bootstrap_interval

__all__ = [
    "AttributeFindings",
    "CaptionErrors",
    "Consistency",
    "Findings",
    "RepeatedCaptions",
    "find",
    "find_consistency",
]

CHANCE_ROUNDS = 10
WORST_PICTURES = 12


@dataclass(frozen=True)
class AttributeFindings:
    """Results for one attribute over all audited captions.

    Attributes:
        name: Attribute of the prompt set.
        mentioned: Share of captions that mention it.
        contradicted: Share of the checked statements that the image contradicts; None without checked statements.
        by_chance: The same against other images.
    """

    name: str
    mentioned: Proportion
    contradicted: Proportion | None
    by_chance: float | None


@dataclass(frozen=True)
class CaptionErrors:
    """Image with the contradicted claims of its caption."""

    image_id: str
    wrong: tuple[Claim, ...]
    checked: int


@dataclass(frozen=True)
class Findings:
    """Results of comparing claims with images.

    Attributes:
        captions: Number of audited captions.
        statements: Number of statements that the lexicon reads in them; each colour is one.
        silent: Number of captions in which it reads none.
        contradicted: Share of the checked statements that the image contradicts; None without checked statements.
        by_chance: The same against other images, for the same mix of statements.
        attributes: Results by attribute.
        worst: Images with the most contradicted claims.
    """

    captions: int
    statements: int
    silent: int
    contradicted: Proportion | None
    by_chance: float | None
    attributes: tuple[AttributeFindings, ...]
    worst: tuple[CaptionErrors, ...]


@dataclass(frozen=True)
class RepeatedCaptions:
    """One image with several captions."""

    image_id: str
    said: Sequence[Attributes]


@dataclass(frozen=True)
class Consistency:
    """Agreement of captions of the same images; scores of 0..1.

    Attributes:
        pictures: Number of images with at least two captions.
        overall: Mean over images of the mean over attributes.
        interval: Bootstrap interval over images.
        attributes: Mean over the images whose captions mention an attribute, by attribute.
    """

    pictures: int
    overall: float
    interval: Interval | None
    attributes: Mapping[str, float]


def find(pictures: Sequence[AuditedImage], prompt_set: PromptSet, *, seed: int) -> Findings:
    """Compare every claim with its image.

    Args:
        pictures: Audited images, of one captioner.
        prompt_set: Prompt set with the attributes.
        seed: Seed of the chance level.
    """
    checked = [(picture, list(claims_of(picture.said, picture.known, prompt_set))) for picture in pictures]
    chance = by_chance(pictures, prompt_set, rounds=CHANCE_ROUNDS, seed=seed)
    rows = tuple(_attribute(name, checked, chance.get(name)) for name in prompt_set.attributes)
    return Findings(
        captions=len(pictures),
        statements=sum(count_statements(picture.said) for picture in pictures),
        silent=sum(not picture.said for picture in pictures),
        contradicted=_contradicted(checked),
        by_chance=_overall(rows),
        attributes=rows,
        worst=_worst(checked),
    )


def find_consistency(pictures: Iterable[RepeatedCaptions], prompt_set: PromptSet, *, seed: int) -> Consistency | None:
    """Compare captions of the same images with each other; None if no two can be compared."""
    scores = [found for one in pictures if (found := self_agreement(one.said, prompt_set))]
    if not scores:
        return None
    means = np.array([np.mean(list(one.values())) for one in scores])
    interval = bootstrap_interval(lambda some: float(some.mean()), [means], seed=seed) if len(means) > 1 else None
    named = {name: [one[name] for one in scores if name in one] for name in prompt_set.attributes}
    return Consistency(
        len(scores), float(means.mean()), interval, {name: float(np.mean(some)) for name, some in named.items() if some}
    )


Checked = Sequence[tuple[AuditedImage, list[Claim]]]


def _attribute(name: str, checked: Checked, chance: float | None) -> AttributeFindings:
    groups = [picture.group for picture, _ in checked]
    mentioned = proportion([name in picture.said for picture, _ in checked], groups)
    assert mentioned is not None
    return AttributeFindings(name, mentioned, _contradicted(checked, name), chance)


def _contradicted(checked: Checked, name: str | None = None) -> Proportion | None:
    found = [(claim, picture) for picture, claims in checked for claim in claims if name in (None, claim.attribute)]
    return proportion([claim.contradicted for claim, _ in found], [picture.group for _, picture in found])


def _overall(rows: Iterable[AttributeFindings]) -> float | None:
    """Chance level for the same mix of statements."""
    known = [(row.by_chance, row.contradicted.count) for row in rows if row.contradicted and row.by_chance is not None]
    statements = sum(count for _, count in known)
    return sum(chance * count for chance, count in known) / statements if statements else None


def _worst(checked: Checked) -> tuple[CaptionErrors, ...]:
    found = [
        CaptionErrors(picture.image_id, tuple(claim for claim in claims if claim.contradicted), len(claims))
        for picture, claims in checked
    ]
    ranked = sorted(found, key=lambda one: (-len(one.wrong), one.checked, one.image_id))
    return tuple(one for one in ranked[:WORST_PICTURES] if one.wrong)
