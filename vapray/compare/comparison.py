"""Comparison of two runs, as terminal output and as an HTML page."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from vapray.compare.lineage import FinishedRun, open_run
from vapray.compare.numbers import NumberRow, number_rows
from vapray.compare.pairs import class_pairs
from vapray.compare.settings import Change, changes
from vapray.evaluation.report.verdict import adherence_gauge, fid_gauge, label_gauge
from vapray.report.gauge import Entry, Gauge
from vapray.report.number_format import UNBROKEN, duration
from vapray.report.page import page, sides

__all__ = ["RunComparison", "compare_runs"]


@dataclass(frozen=True)
class RunComparison:
    """Differences of two runs in settings and metrics."""

    first: FinishedRun
    second: FinishedRun
    changes: Sequence[Change]
    numbers: Sequence[NumberRow]

    @property
    def identical(self) -> bool:
        """True if no setting and no number differs."""
        return not self.changes and all(row.outcome == "equal" for row in self.numbers)

    @property
    def verdict(self) -> str:
        """Summary in one or two sentences that claims no more than the intervals allow."""
        if self.identical:
            return "The two runs are identical: the same settings, the same numbers."
        better, worse, same = self._names("better"), self._names("worse"), self._overlapping()
        told = [f"{word} in {_and(names)}" for word, names in (("better", better), ("worse", worse)) if names]
        parts = [f"The second run is {' and '.join(told)}"] if told else []
        if same:
            parts.append(f"The runs are not distinguishable in {_and(same)}")
        return ". ".join(parts) + "." if parts else self._without_verdict()

    def _without_verdict(self) -> str:
        reasons = dict.fromkeys(row.word for row in self.numbers if row.outcome == "incomparable")
        return f"The numbers of these runs are {_and(list(reasons))}." if reasons else "No number differs."

    def lines(self) -> list[str]:
        """Terminal output: settings that differ, numbers, times and the verdict."""
        head = [f"{word:8}{_describe(run)}" for word, run in (("first", self.first), ("second", self.second))]
        differing = [f"  {key}: {first} -> {second}" for key, first, second in self.changes]
        table = [f"  {line}" for line in _table(self.numbers)]
        lines = [
            *head,
            "",
            "Settings that differ",
            *(differing or [f"  {self.agreement}"]),
            "",
            "Numbers",
            *table,
            "",
            "Times",
            *(f"  {stage:12}{one} -> {two}" for stage, one, two in self.times),
            "",
            self.verdict,
        ]
        return [line.replace(UNBROKEN, " ").rstrip() for line in lines]

    @property
    def times(self) -> list[tuple[str, str, str]]:
        """Duration of each stage in both runs."""
        ours, theirs = self.first.metrics.stages, self.second.metrics.stages
        return [(name, duration(ours[name].seconds), duration(theirs[name].seconds)) for name in ours if name in theirs]

    @property
    def agreement(self) -> str:
        """Statement for runs without differing settings."""
        checkpoints = [run.metrics.provenance.checkpoint_sha256 for run in (self.first, self.second)]
        if checkpoints[0] == checkpoints[1]:
            return "All settings agree."
        return "All settings agree, but the weights differ: other workers, devices or libraries trained them."

    def to_html(self) -> str:
        """Render a self-contained HTML page; all text is escaped."""
        groups = class_pairs(self.first, self.second)
        return page(
            "compare.html.jinja",
            comparison=self,
            descriptions=[_describe(run) for run in (self.first, self.second)],
            gauges=self._gauges(),
            groups=groups,
            sides=sides([pair.first for group in groups for pair in group.pairs]),
        )

    def _gauges(self) -> list[tuple[str, Gauge]]:
        one, two = self.first.metrics, self.second.metrics
        allowed = {row.key for row in self.numbers if row.outcome not in ("incomparable", "missing")}

        def other(key: str) -> Entry:
            return Entry("Second run", getattr(two, key), "other", two.intervals.get(key))

        drawn = {
            "FID": ("fid", fid_gauge(one, other("fid"), made="First run")),
            "Label accuracy": (
                "label_accuracy",
                label_gauge(one, len(self.first.class_names), other("label_accuracy"), made="First run"),
            ),
            "Caption adherence": (
                "caption_adherence",
                adherence_gauge(one, other("caption_adherence"), made="First run"),
            ),
        }
        return [(name, gauge) for name, (key, gauge) in drawn.items() if gauge is not None and key in allowed]

    def _names(self, outcome: str) -> list[str]:
        return [_within(row.name) for row in self.numbers if row.outcome == outcome]

    def _overlapping(self) -> list[str]:
        return [
            _within(row.name)
            for row in self.numbers
            if row.outcome == "undecided" and row.first_interval and row.second_interval
        ]


def compare_runs(first: str, second: str) -> RunComparison:
    """Compare the published evaluations of two runs.

    Args:
        first: ``run.root`` of the baseline run, a path or URI.
        second: ``run.root`` of the run whose differences are reported.

    Raises:
        DataError: a run has no finished evaluation, or the images that it measured are gone.
    """
    runs = open_run(first), open_run(second)
    return RunComparison(*runs, changes(*runs), number_rows(*runs))


def _describe(run: FinishedRun) -> str:
    evaluation = run.manifests["evaluate"]
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(evaluation.finished))
    return f"{run.root}, evaluated {made}, {run.metrics.n_generated:,} generated"


def _within(name: str) -> str:
    """Name of a number in the middle of a sentence."""
    return name if name[:2].isupper() else name[0].lower() + name[1:]


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _table(rows: Sequence[NumberRow]) -> list[str]:
    """Align columns: names and words to the left, numbers to the right."""
    cells = [("", "first", "second", "difference", "")]
    cells += [(row.name, row.first, row.second, row.difference, row.word) for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    return [
        "  ".join(
            [name.ljust(widths[0]), *(text.rjust(width) for text, width in zip(three, widths[1:], strict=True)), word]
        )
        for name, *three, word in cells
    ]
