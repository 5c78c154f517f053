"""Comparison of the numbers of two runs: comparability and significance of differences."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from vapray.evaluation.compare.lineage import FinishedRun, same_pictures
from vapray.evaluation.intervals import Interval
from vapray.evaluation.metrics import Metrics
from vapray.evaluation.report.explained import KINDS, Kind, value_of
from vapray.evaluation.report.wording import ABSENT, UNBROKEN, Number, interval_text, known, number, percent

__all__ = ["NumberRow", "number_rows", "obstacles"]

OF_FEATURES = frozenset(
    (
        "fid",
        "fid_at_held_out_count",
        "kid",
        "precision",
        "recall",
        "density",
        "coverage",
        "nearest_training_relative",
        "caption_source_rank",
    )
)
OF_CAPTIONS = frozenset(("caption_adherence", "caption_adherence_relative"))
OF_COUNT = frozenset(("fid", "precision", "recall", "density", "coverage"))
"""Numbers that depend on the set size: FID is biased, and balls shrink as a set grows."""

Outcome = Literal["equal", "better", "worse", "undecided", "incomparable", "missing"]


@dataclass(frozen=True)
class NumberRow:
    """Comparison of one number of two runs."""

    key: str
    name: str
    first: str
    second: str
    first_interval: str
    second_interval: str
    difference: str
    """Second minus first; a dash if they cannot be compared or are equal."""
    outcome: Outcome
    """Outcome for the second run; ``undecided`` if intervals overlap or one is missing."""
    word: str
    """Description of the outcome."""


def number_rows(first: FinishedRun, second: FinishedRun) -> list[NumberRow]:
    """Compare every number that at least one run measured."""
    barred = obstacles(first, second)
    return [
        _row(kind, first.metrics, second.metrics, barred.get(kind.key, ""))
        for kind in KINDS
        if known(value_of(first.metrics, kind)) or known(value_of(second.metrics, kind))
    ]


def obstacles(first: FinishedRun, second: FinishedRun) -> dict[str, str]:
    """Reason why each number cannot be compared between these runs, by key; comparable numbers are absent."""
    whole = list(_other_pictures(first, second))
    features = [*whole, *_other_features(first.metrics, second.metrics)]
    captions = [*whole, *_other_words(first, second)]
    found = {}
    for kind in KINDS:
        reasons = features if kind.key in OF_FEATURES else captions if kind.key in OF_CAPTIONS else whole
        counts = [run.metrics.n_generated for run in (first, second)]
        if kind.key in OF_COUNT and counts[0] != counts[1]:
            reasons = [*reasons, "numbers of generated images differ"]
        if reasons:
            found[kind.key] = reasons[0]
    return found


def _other_pictures(first: FinishedRun, second: FinishedRun) -> Iterator[str]:
    if first.class_names != second.class_names:
        yield "classes differ"
    if not same_pictures(first, second):
        yield "datasets differ"
    if first.metrics.provenance.preparation != second.metrics.provenance.preparation:
        yield "image sizes differ"


def _other_features(first: Metrics, second: Metrics) -> Iterator[str]:
    origins = [(p.extractor, p.extractor_sha256, p.resize) for p in (first.provenance, second.provenance)]
    if origins[0] != origins[1]:
        yield "features differ"


def _other_words(first: FinishedRun, second: FinishedRun) -> Iterator[str]:
    if first.outside.get("evaluate prompts") != second.outside.get("evaluate prompts"):
        yield "prompt sets differ"


def _row(kind: Kind, first: Metrics, second: Metrics, barred: str) -> NumberRow:
    a, b = value_of(first, kind), value_of(second, kind)
    intervals = first.intervals.get(kind.key), second.intervals.get(kind.key)
    outcome = _outcome(kind, a, b, intervals, barred)
    told = outcome in ("better", "worse", "undecided")
    return NumberRow(
        key=kind.key,
        name=kind.name,
        first=kind.word(a),
        second=kind.word(b),
        first_interval=interval_text(intervals[0], kind.word.__name__),
        second_interval=interval_text(intervals[1], kind.word.__name__),
        difference=_signed(kind, b - a) if told and known(a) and known(b) else ABSENT,
        outcome=outcome,
        word=_word(kind, outcome, a, b, intervals, barred),
    )


Intervals = tuple[Interval | None, Interval | None]


def _outcome(kind: Kind, a: Number, b: Number, intervals: Intervals, barred: str) -> Outcome:
    if barred:
        return "incomparable"
    if not known(a) or not known(b):
        return "missing"
    if a == b:
        return "equal"
    if not _apart(intervals):
        return "undecided"
    return "better" if _improved(kind, a, b) else "worse"


def _apart(intervals: Intervals) -> bool:
    first, second = intervals
    return bool(first and second and (first.high < second.low or second.high < first.low))


def _improved(kind: Kind, a: float, b: float) -> bool:
    if kind.direction == "near 1":
        return abs(b - 1) < abs(a - 1)
    return (b < a) == (kind.direction == "lower")


def _word(kind: Kind, outcome: Outcome, a: Number, b: Number, intervals: Intervals, barred: str) -> str:
    if outcome == "undecided" and all(intervals):
        return "not distinguishable (intervals overlap)"
    if outcome == "undecided" and known(a) and known(b):
        return f"second {'better' if _improved(kind, a, b) else 'worse'}, without an interval"
    words = {"equal": "equal", "better": "second better", "worse": "second worse", "missing": "measured in one only"}
    return words.get(outcome, f"not comparable: {barred}")


def _signed(kind: Kind, difference: float) -> str:
    sign = "+" if difference > 0 else "-"
    if kind.word is not percent:
        return sign + number(abs(difference))
    return f"{sign}{100 * abs(difference):.1f}{UNBROKEN}points"
