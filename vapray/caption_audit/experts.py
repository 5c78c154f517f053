"""Summary of expert ratings, and their agreement with the audit and with each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from vapray.caption_audit.proportions import Proportion, proportion
from vapray.caption_audit.ratings import RatedCaption
from vapray.errors import DataError

__all__ = ["ExpertFindings", "summarize_ratings"]

Statement = tuple[str, str]
"""(image, attribute)."""


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
    by_rater: dict[str, dict[Statement, str]] = {rater: {} for rater, _ in current}
    for rater, one in current:
        by_rater[rater] |= {(one.image_id, name): verdict for name, verdict in one.verdicts.items()}
    certain = {rater: _certain(verdicts) for rater, verdicts in by_rater.items()}
    outcomes = [outcome for verdicts in certain.values() for outcome in verdicts.items()]
    names = sorted({name for (_, name), _ in outcomes})
    return ExpertFindings(
        raters={rater: len({image for image, _ in verdicts}) for rater, verdicts in by_rater.items()},
        outdated=len(rated) - len(current),
        wrong={name: found for name in names if (found := _wrong(outcomes, groups, name))},
        overall=_wrong(outcomes, groups),
        unsure=sum(map(len, by_rater.values())) - len(outcomes),
        agreement=_kappa([(wrong, contradicted[key]) for key, wrong in outcomes if key in contradicted]),
        between={
            f"{one} and {other}": _kappa(
                [(certain[one][key], certain[other][key]) for key in certain[one].keys() & certain[other].keys()]
            )
            for one, other in combinations(certain, 2)
        },
    )


def _certain(verdicts: Mapping[Statement, str]) -> dict[Statement, bool]:
    """Map each statement that the expert could judge to True if it is wrong."""
    return {key: verdict == "wrong" for key, verdict in verdicts.items() if verdict != "unsure"}


def _wrong(
    outcomes: Sequence[tuple[Statement, bool]], groups: Mapping[str, str], name: str | None = None
) -> Proportion | None:
    found = [(wrong, groups[image]) for (image, attribute), wrong in outcomes if name in (None, attribute)]
    return proportion([wrong for wrong, _ in found], [group for _, group in found])


def _kappa(pairs: Sequence[tuple[bool, bool]]) -> float | None:
    """Cohen's kappa; None if one side has only one verdict, since agreement beyond chance is then undefined."""
    sides = list(zip(*pairs, strict=True))
    if not sides or any(len(set(side)) < 2 for side in sides):
        return None
    import torch  # imported only with ratings: it takes seconds
    from torchmetrics.functional.classification import binary_cohen_kappa

    one, other = (torch.tensor(side, dtype=torch.int) for side in sides)
    return float(binary_cohen_kappa(one, other))
