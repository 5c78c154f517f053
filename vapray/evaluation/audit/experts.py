"""What experts say of the captions, and how far they agree with the audit and with each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from vapray.errors import DataError
from vapray.evaluation.audit.rates import Rate, rate
from vapray.evaluation.audit.ratings import RatedCaption

__all__ = ["ExpertFindings", "find_ratings"]

Statement = tuple[str, str]
"""(image, attribute)."""


@dataclass(frozen=True)
class ExpertFindings:
    """What experts say of the captions.

    Attributes:
        raters: name -> captions rated.
        outdated: ratings of captions that this run does not have any more.
        wrong: share of the rated statements that are wrong, by attribute.
        overall: the same over all attributes.
        unsure: verdicts that could not be given.
        agreement: Cohen's kappa of the experts with the audit's own verdicts; None where it is not defined.
        between: Cohen's kappa of every two experts, over what both rated.
    """

    raters: Mapping[str, int]
    outdated: int
    wrong: Mapping[str, Rate]
    overall: Rate | None
    unsure: int
    agreement: float | None
    between: Mapping[str, float | None]


def find_ratings(
    files: Sequence[tuple[str, Sequence[RatedCaption]]],
    caption_keys: Mapping[str, str],
    groups: Mapping[str, str],
    contradicted: Mapping[Statement, bool],
) -> ExpertFindings:
    """Sum experts up.

    Args:
        files: rater and ratings of each.
        caption_keys: image -> key of its caption now.
        groups: image -> its group.
        contradicted: the audit's own verdicts, where it has one.

    Raises:
        DataError: not one rating is of a caption of this run.
    """
    rated = [(rater, one) for rater, captions in files for one in captions]
    current = [(rater, one) for rater, one in rated if caption_keys.get(one.image_id) == one.caption_key]
    if not current:
        raise DataError(
            f"audit.ratings: all {len(rated)} ratings are of captions that this run does not have. Rate the sheet of "
            "this run, or take audit.ratings out."
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
    """Whether it is wrong, where the expert could tell."""
    return {key: verdict == "wrong" for key, verdict in verdicts.items() if verdict != "unsure"}


def _wrong(
    outcomes: Sequence[tuple[Statement, bool]], groups: Mapping[str, str], name: str | None = None
) -> Rate | None:
    found = [(wrong, groups[image]) for (image, attribute), wrong in outcomes if name in (None, attribute)]
    return rate([wrong for wrong, _ in found], [group for _, group in found])


def _kappa(pairs: Sequence[tuple[bool, bool]]) -> float | None:
    """None where one side never changes its mind: there is nothing that could agree beyond chance."""
    sides = list(zip(*pairs, strict=True))
    if not sides or any(len(set(side)) < 2 for side in sides):
        return None
    import torch  # seconds, for those who have ratings
    from torchmetrics.functional.classification import binary_cohen_kappa

    one, other = (torch.tensor(side, dtype=torch.int) for side in sides)
    return float(binary_cohen_kappa(one, other))
