"""Sentences about the differences between groups."""

from collections.abc import Sequence

from vapray.metrics.group_differences import Difference
from vapray.report.number_format import number

__all__ = ["NOTHING_RESOLVED", "describe_differences"]

NOTHING_RESOLVED = "No difference between groups is resolved"
NAMES = {
    "kid": "KID",
    "adherence": "Caption adherence beyond the shuffled control",
    "label_accuracy": "Label accuracy",
    "copies_suspected": "The share of training images with a suspected copy",
    "gain": "The gain of classifiers",
}


def describe_differences(differences: Sequence[Difference]) -> list[str]:
    """Say which corrected differences are resolved, and how many comparisons were made."""
    if not differences:
        return ["No groups are compared: no column has two known groups with enough images."]
    tests = f"{len(differences)} comparisons of a group with the others of its column, Holm's correction, 5 %"
    resolved = sorted((one for one in differences if one.is_resolved), key=lambda one: one.p_holm)
    if not resolved:
        return [
            f"{NOTHING_RESOLVED} ({tests}). Differences smaller than the intervals can still exist.",
        ]
    return [*map(_sentence, resolved), f"All other differences are not resolved ({tests})."]


def _sentence(one: Difference) -> str:
    direction = "higher" if one.value > 0 else "lower"
    bounds = "" if one.low is None else f", 95 % interval {number(one.low)} to {number(one.high)}"
    return (
        f"{NAMES[one.number]} is {direction} for {one.column} {one.group} than for the others: "
        f"difference {number(one.value)}{bounds}, corrected p = {one.p_holm:.2g}."
    )
