"""Summary of expert ratings, and their agreement with the audit and with each other."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from vapray.caption_audit.proportions import Proportion, proportion
from vapray.caption_audit.ratings import RatedCaption
from vapray.errors import DataError

__all__ = ["ExpertFindings", "summarize_ratings"]

Statement = tuple[str, str]
"""(image, attribute)."""


class _Rating(NamedTuple):
    """Verdict of one expert on one statement of a caption."""

    rater: str
    image: str
    attribute: str
    verdict: str

    @property
    def statement(self) -> Statement:
        """Key of the statement."""
        return self.image, self.attribute

    @property
    def wrong(self) -> bool:
        """True if the expert called the statement wrong."""
        return self.verdict == "wrong"


@dataclass(frozen=True)
class ExpertFindings:
    """Summary of expert ratings.

    Attributes:
        raters: Number of captions rated, by rater.
        outdated: Number of ratings of captions that this run no longer has.
        wrong: Share of the rated statements that are wrong, by attribute.
        overall: The same over all attributes.
        unsure: Number of statements that a rater could not judge.
        agreement: Cohen's kappa of the experts with the audit's verdicts; None if it is undefined.
        between: Cohen's kappa of every two experts, over statements that both rated.
    """

    raters: Mapping[str, int]
    outdated: int
    wrong: Mapping[str, Proportion]
    overall: Proportion | None
    unsure: int
    agreement: float | None
    between: Mapping[str, float | None]


def summarize_ratings(
    files: Sequence[tuple[str, Sequence[RatedCaption]]],
    caption_keys: Mapping[str, str],
    groups: Mapping[str, str],
    contradicted: Mapping[Statement, bool],
) -> ExpertFindings:
    """Summarize expert ratings.

    Args:
        files: Rater and ratings of each file.
        caption_keys: Key of the current caption, by image.
        groups: Group, by image.
        contradicted: Verdicts of the audit, by statement.

    Raises:
        DataError: no rating is of a caption of this run.
    """
    rated = [(rater, one) for rater, captions in files for one in captions]
    current = [(rater, one) for rater, one in rated if caption_keys.get(one.image_id) == one.caption_key]
    if not current:
        raise DataError(
            f"caption_audit.ratings: all {len(rated)} ratings are of captions that this run does not have. Fix: rate "
            "the sheet of this run, or remove caption_audit.ratings."
        )
    ratings = _ratings(current)
    raters = {rater: len({one.image for one in ratings if one.rater == rater}) for rater, _ in current}
    certain = [one for one in ratings if one.verdict != "unsure"]
    return ExpertFindings(
        raters=raters,
        outdated=len(rated) - len(current),
        wrong=_wrong_by_attribute(certain, groups),
        overall=_wrong(certain, groups),
        unsure=len(ratings) - len(certain),
        agreement=_agreement_with_audit(certain, contradicted),
        between=_agreement_between_raters(certain, raters),
    )


def _ratings(captions: Sequence[tuple[str, RatedCaption]]) -> list[_Rating]:
    """List the verdicts; the last one counts if an expert rated a statement twice."""
    verdicts = {
        (rater, one.image_id, attribute): verdict
        for rater, one in captions
        for attribute, verdict in one.verdicts.items()
    }
    return [_Rating(*key, verdict) for key, verdict in verdicts.items()]


def _wrong(ratings: Sequence[_Rating], groups: Mapping[str, str]) -> Proportion | None:
    return proportion([one.wrong for one in ratings], [groups[one.image] for one in ratings])


def _wrong_by_attribute(ratings: Sequence[_Rating], groups: Mapping[str, str]) -> dict[str, Proportion]:
    by_attribute: dict[str, list[_Rating]] = defaultdict(list)
    for one in ratings:
        by_attribute[one.attribute].append(one)
    return {name: found for name, some in sorted(by_attribute.items()) if (found := _wrong(some, groups))}


def _agreement_with_audit(ratings: Sequence[_Rating], contradicted: Mapping[Statement, bool]) -> float | None:
    return _kappa([(one.wrong, contradicted[one.statement]) for one in ratings if one.statement in contradicted])


def _agreement_between_raters(ratings: Sequence[_Rating], raters: Iterable[str]) -> dict[str, float | None]:
    wrong: dict[str, dict[Statement, bool]] = {rater: {} for rater in raters}
    for one in ratings:
        wrong[one.rater][one.statement] = one.wrong
    return {
        f"{first} and {second}": _kappa([(ours[key], theirs[key]) for key in ours.keys() & theirs.keys()])
        for (first, ours), (second, theirs) in combinations(wrong.items(), 2)
    }


def _kappa(pairs: Sequence[tuple[bool, bool]]) -> float | None:
    """Cohen's kappa; None if one side has only one verdict, since agreement beyond chance is then undefined."""
    sides = list(zip(*pairs, strict=True))
    if not sides or any(len(set(side)) < 2 for side in sides):
        return None
    import torch  # imported only with ratings: it takes seconds
    from torchmetrics.functional.classification import binary_cohen_kappa

    one, other = (torch.tensor(side, dtype=torch.int) for side in sides)
    return float(binary_cohen_kappa(one, other))
