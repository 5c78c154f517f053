"""Tables of an experiment, from its records alone: Markdown for documents, HTML for browsers."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vapray.experiments.contrasts import ContrastResult, findings
from vapray.experiments.records import Record, RunName
from vapray.experiments.results import OUTCOMES
from vapray.experiments.spec import Experiment
from vapray.report.page import page

__all__ = ["Tables", "tables_of"]

ABSENT = "–"
FLOORS = {"real, held out": "{}_real_split", "real, held out, through the autoencoder": "{}_real_reconstructed"}
"""Name of a row of real images -> name of its number."""
BUDGET = ("parameters", "GFLOP a pass", "steps", "images seen", "training")

Cells = tuple[str, ...]
Column = tuple[tuple[str, ...], str]
"""Measures, and the number that is equal under them."""


@dataclass(frozen=True)
class Tables:
    """Content of the tables.

    Attributes:
        experiment: description of the experiment.
        head: column names.
        rows: name of a row, then its cells.
        questions: cells of ``QUESTION_HEAD``, for each contrast and measure.
        notes: lines under the tables.
    """

    experiment: Experiment
    head: Cells
    rows: Sequence[Cells]
    questions: Sequence[Cells]
    notes: Sequence[str]

    def to_markdown(self) -> str:
        """Render both tables and the notes for a document."""
        parts = [_markdown(self.head, self.rows)]
        if self.questions:
            parts.append(_markdown(QUESTION_HEAD, self.questions))
        if self.notes:
            parts.append("\n".join(f"* {note}" for note in self.notes))
        return "\n\n".join(parts) + "\n"

    def to_html(self) -> str:
        """Render a self-contained page."""
        return page("experiment.html.jinja", tables=self, question_head=QUESTION_HEAD)


QUESTION_HEAD = ("contrast", "number", "measured by", "difference over seeds", "p (Holm)", "verdict")


def tables_of(experiment: Experiment, records: Mapping[RunName, Record]) -> Tables:
    """Build the tables of the finished runs; unfinished ones are dashes."""
    columns = _columns(experiment, records)
    names = {number: OUTCOMES[experiment.stage].name(number) for number in experiment.metrics}
    several = len(experiment.evaluators) > 1
    head = ["", *(f"{names[n]} ({by[0]})" if several and len(by) == 1 else f"{names[n]}" for by, n in columns)]
    paper = [number for number in experiment.metrics if any(number in row.paper for row in experiment.arms.values())]
    head += [f"{names[number]}, paper" for number in paper] + ["seeds", *BUDGET]
    rows = [_row(experiment, name, columns, paper, records) for name in experiment.arms]
    rows += _floors(columns, paper, records)
    found = findings(experiment, _numbers(experiment, records))
    questions = [
        cells for one in found for cells in _question(one, experiment, alike=_is_common(one.contrast.metric, records))
    ]
    return Tables(experiment, tuple(head), rows, questions, tuple(_notes(experiment, records)))


def _columns(experiment: Experiment, records: Mapping[RunName, Record]) -> Sequence[Column]:
    """List numbers by measure, then those that are equal under all measures."""
    alike = [number for number in experiment.metrics if _is_common(number, records)]
    by_each = [number for number in experiment.metrics if number not in alike]
    measures = tuple(experiment.evaluators)
    return [((measure,), number) for measure in measures for number in by_each] + [(measures, n) for n in alike]


def _is_common(number: str, records: Mapping[RunName, Record]) -> bool:
    """Return True if a number is equal under all measures, because it does not depend on features."""
    of_runs: dict[tuple[str, int], list[float]] = {}
    for record in records.values():
        of_runs.setdefault((record.row, record.seed), []).append(record.number(number))
    several = [values for values in of_runs.values() if len(values) > 1]
    return bool(several) and all(len(set(values)) == 1 for values in several)


def _row(
    experiment: Experiment,
    row: str,
    columns: Sequence[Column],
    paper: Sequence[str],
    records: Mapping[RunName, Record],
) -> Cells:
    of_row = [record for record in records.values() if record.row == row]
    cells = [_mean({r.seed: r.number(number) for r in of_row if r.measure in by}) for by, number in columns]
    reported = [_number(experiment.arms[row].paper.get(number, math.nan)) for number in paper]
    seeds = len({record.seed for record in of_row})
    return row, *cells, *reported, str(seeds or ABSENT), *_budget({r.seed: r.budget for r in of_row if r.budget})


def _floors(columns: Sequence[Column], paper: Sequence[str], records: Mapping[RunName, Record]) -> Iterator[Cells]:
    """Build the rows of real images, lower bounds of the others; one run of each seed counts."""
    one_of_each = {(record.measure, record.seed): record for record in records.values() if record.budget}
    for name, key in FLOORS.items():
        cells = [
            _mean({r.seed: r.number(key.format(number)) for r in one_of_each.values() if r.measure in by})
            for by, number in columns
        ]
        if any(cell != ABSENT for cell in cells):
            yield name, *cells, *([ABSENT] * (len(paper) + 1 + len(BUDGET)))


def _budget(of_seeds: Mapping[int, Mapping[str, float]]) -> Cells:
    if not of_seeds:
        return (ABSENT,) * len(BUDGET)
    budget, minutes = next(iter(of_seeds.values())), [one["train_seconds"] / 60 for one in of_seeds.values()]
    return (
        f"{budget['parameters'] / 1e6:.3g} M",
        f"{budget['forward_flops'] / 1e9:.3g}",
        f"{budget['steps']:,.0f}",
        f"{budget['images']:,.0f}",
        f"{'–'.join(dict.fromkeys(f'{one:.1f}' for one in (min(minutes), max(minutes))))} min",
    )


def _question(finding: ContrastResult, experiment: Experiment, *, alike: bool) -> Iterator[Cells]:
    contrast = finding.contrast
    fewest, seeds = min(one.pairs for one in finding.differences.values()), len(experiment.seeds)
    verdict = "resolved" if finding.resolved else "not resolved"
    if finding.equivalent and contrast.equivalence_margin:
        verdict += f", equivalent within {100 * contrast.equivalence_margin:g} %"
    if fewest < max(2, seeds):
        verdict = f"{fewest} of {seeds} seeds" if fewest < seeds else "one seed"
    by_measure = finding.differences
    if alike:
        by_measure = {", ".join(by_measure): next(iter(by_measure.values()))}
    blank = False
    for measure, one in by_measure.items():
        interval = "" if math.isnan(one.low) else f" [{_number(one.low)}, {_number(one.high)}]"
        text = f"{_number(one.mean)}{interval}, n = {one.pairs}" if one.pairs else ABSENT
        p = _number(finding.p_holm if contrast.primary else one.p)
        name = OUTCOMES[experiment.stage].name(contrast.metric) or ""
        note = ("", "") if contrast.primary else (", uncorrected", ", secondary")
        cells = (
            f"{contrast.treatment} − {contrast.baseline}",
            name,
            measure,
            text,
            f"{p}{note[0]}",
            f"{verdict}{note[1]}",
        )
        yield ("", "", measure, text, "", "") if blank else cells
        blank = True


def _notes(experiment: Experiment, records: Mapping[RunName, Record]) -> Iterator[str]:
    yield "Mean ± standard deviation over seeds; a difference has a 95 % paired t-interval over seeds."
    if any(record.budget for record in records.values()):
        yield "Training: minutes of the attempt that ended it, from the quickest seed to the slowest."
    for measure in experiment.evaluators:
        of_measure = [record for record in records.values() if record.measure == measure]
        yield from dict.fromkeys(_description(experiment, record) for record in of_measure)
        yield from dict.fromkeys(f"{measure}: {text}" for one in of_measure for text in one.metrics.get("warnings", ()))
    for name, row in experiment.arms.items():
        if row.note:
            yield f"{name}: {row.note}"


def _description(experiment: Experiment, record: Record) -> str:
    whose = f"{record.row}, {record.measure}" if experiment.arms[record.row].folder else record.measure
    return f"{whose}: {OUTCOMES[experiment.stage].describe(record.metrics)}"


def _numbers(experiment: Experiment, records: Mapping[RunName, Record]) -> dict[tuple[str, str, int, str], float]:
    asked = {number for contrast in experiment.contrasts for number in (contrast.metric, contrast.floor)}
    return {(n.row, n.measure, n.seed, key): record.number(key) for n, record in records.items() for key in asked}


def _mean(of_seeds: Mapping[int, float]) -> str:
    """Format a mean with three digits, and the standard deviation to its digits, or to its own first one."""
    known = [value for value in of_seeds.values() if math.isfinite(value)]
    if not known:
        return ABSENT
    mean = float(np.mean(known))
    digits = max(0, 2 - math.floor(math.log10(abs(mean)))) if mean else 3
    text = f"{mean:,.{digits}f}"
    if len(known) == 1:
        return text
    deviation = float(np.std(known, ddof=1))
    first_digit = -math.floor(math.log10(deviation)) if deviation > 1e-9 * abs(mean) else 0
    return f"{text} ± {deviation:,.{max(digits, first_digit)}f}"


def _number(value: float) -> str:
    return ABSENT if math.isnan(value) else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _markdown(head: Sequence[str], rows: Sequence[Cells]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
