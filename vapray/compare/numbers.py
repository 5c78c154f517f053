"""Comparison of the numbers of two runs: comparability and significance of differences."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from vapray.compare.lineage import FinishedRun, same_images
from vapray.evaluation.metric_specs import METRIC_SPECS, MetricSpec
from vapray.evaluation.metrics import Metrics
from vapray.metrics.intervals import Interval
from vapray.report.number_format import ABSENT, UNBROKEN, Number, interval_text, is_measured, number, percent

__all__ = ["NumberRow", "number_rows", "obstacles"]

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
        _row(spec, first.metrics, second.metrics, barred.get(spec.key, ""))
        for spec in METRIC_SPECS
        if any(is_measured(run.metrics.value(spec.key)) for run in (first, second))
    ]


def obstacles(first: FinishedRun, second: FinishedRun) -> dict[str, str]:
    """Reason why each number cannot be compared between these runs, by key; comparable numbers are absent."""
    images = list(_other_images(first, second))
    features = list(_other_features(first.metrics, second.metrics))
    prompts = list(_other_prompts(first, second))
    counts = ["numbers of generated images differ"] if first.metrics.n_generated != second.metrics.n_generated else []
    found = {}
    for spec in METRIC_SPECS:
        reasons = [*images]
        reasons += features if spec.needs_same_features else []
        reasons += prompts if spec.needs_same_prompts else []
        reasons += counts if spec.needs_same_count else []
        if reasons:
            found[spec.key] = reasons[0]
    return found


def _other_images(first: FinishedRun, second: FinishedRun) -> Iterator[str]:
    if first.class_names != second.class_names:
        yield "classes differ"
    if not same_images(first, second):
        yield "datasets differ"
    if first.metrics.provenance.preparation != second.metrics.provenance.preparation:
        yield "image sizes differ"


def _other_features(first: Metrics, second: Metrics) -> Iterator[str]:
    origins = [(p.extractor, p.extractor_sha256, p.resize) for p in (first.provenance, second.provenance)]
    if origins[0] != origins[1]:
        yield "features differ"


def _other_prompts(first: FinishedRun, second: FinishedRun) -> Iterator[str]:
    if first.outside.get("evaluate prompts") != second.outside.get("evaluate prompts"):
        yield "prompt sets differ"


def _row(spec: MetricSpec, first: Metrics, second: Metrics, barred: str) -> NumberRow:
    a, b = first.value(spec.key), second.value(spec.key)
    intervals = first.intervals.get(spec.key), second.intervals.get(spec.key)
    outcome = _outcome(spec, a, b, intervals, barred)
    measured = outcome in ("better", "worse", "undecided")
    return NumberRow(
        key=spec.key,
        name=spec.name,
        first=spec.format(a),
        second=spec.format(b),
        first_interval=interval_text(intervals[0], spec.format),
        second_interval=interval_text(intervals[1], spec.format),
        difference=_signed(spec, b - a) if measured and is_measured(a) and is_measured(b) else ABSENT,
        outcome=outcome,
        word=_word(spec, outcome, a, b, intervals, barred),
    )


Intervals = tuple[Interval | None, Interval | None]


def _outcome(spec: MetricSpec, a: Number, b: Number, intervals: Intervals, barred: str) -> Outcome:
    if barred:
        return "incomparable"
    if not is_measured(a) or not is_measured(b):
        return "missing"
    if a == b:
        return "equal"
    if not _apart(intervals):
        return "undecided"
    return "better" if spec.improved(a, b) else "worse"


def _apart(intervals: Intervals) -> bool:
    first, second = intervals
    return bool(first and second and (first.high < second.low or second.high < first.low))


def _word(spec: MetricSpec, outcome: Outcome, a: Number, b: Number, intervals: Intervals, barred: str) -> str:
    if outcome == "undecided" and all(intervals):
        return "not distinguishable (intervals overlap)"
    if outcome == "undecided" and is_measured(a) and is_measured(b):
        return f"second {'better' if spec.improved(a, b) else 'worse'}, without an interval"
    words = {"equal": "equal", "better": "second better", "worse": "second worse", "missing": "measured in one only"}
    return words.get(outcome, f"not comparable: {barred}")


def _signed(spec: MetricSpec, difference: float) -> str:
    sign = "+" if difference > 0 else "-"
    if spec.format is not percent:
        return sign + number(abs(difference))
    return f"{sign}{100 * abs(difference):.1f}{UNBROKEN}points"
