"""Tables of the report's section on groups: texts of their cells."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vapray.evaluation.group_report import GroupReport
from vapray.evaluation.group_scores import GroupColumn, GroupScores
from vapray.metrics.group_differences import Estimate, Share
from vapray.metrics.intervals import Interval
from vapray.report.number_format import ABSENT, UNBROKEN, Number, interval_text, number, percent, percent_interval

__all__ = ["GroupRow", "GroupTable", "group_tables"]

MAX_ROWS = 20
"""Largest number of groups of a column on the page; the largest groups are shown."""
Cell = tuple[str, ...]
"""Lines of a cell."""


@dataclass(frozen=True)
class GroupRow:
    """Row of one group."""

    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class GroupTable:
    """Table of one column; columns without a number in any row are left out."""

    column: str
    rule: str
    head: tuple[str, ...]
    rows: tuple[GroupRow, ...]
    note: str


def group_tables(report: GroupReport | None) -> list[GroupTable]:
    """Build the table of each column; none without groups."""
    return [_table(column, report) for column in report.columns] if report else []


def _table(column: GroupColumn, report: GroupReport) -> GroupTable:
    largest = sorted(column.groups, key=lambda group: -max(group.n_training, group.n_generated))[:MAX_ROWS]
    shown = [group for group in column.groups if group in largest]
    rows = [_cells(column, group, report) for group in shown]
    head = [name for name in rows[0] if any(row[name] != (ABSENT,) for row in rows)]
    few = [group.name for group in shown if not group.is_scored]
    return GroupTable(
        column.column,
        column.rule,
        tuple(head),
        tuple(GroupRow(group.name, tuple(row[name] for name in head)) for group, row in zip(shown, rows, strict=True)),
        " ".join(_notes(few, len(column.groups) - len(shown), report.min_images)),
    )


def _notes(few: Sequence[str], hidden: int, least: int) -> list[str]:
    notes = [f"Not scored, fewer than {least} training or generated images: {', '.join(few)}."] if few else []
    return [*notes, f"{hidden} smaller groups are in metrics.json only."] if hidden else notes


def _cells(column: GroupColumn, group: GroupScores, report: GroupReport) -> dict[str, Cell]:
    return {
        "Training": (number(group.n_training),),
        "Held out": (number(group.n_held_out),),
        "Generated": (number(group.n_generated),),
        "KID": _estimate(group.kid),
        "KID, held out": _estimate(group.kid_held_out),
        "Adherence above shuffled": _points(group.adherence.excess if group.adherence else None),
        "Label accuracy": _share_of(group.label_accuracy),
        "Certain copies": _copies(group.copies_certain),
        "Suspected copies": _copies(group.copies_suspected),
        "Gain of classifiers": _points(report.gain(column.column, group.name)),
    }


def _estimate(found: Estimate | None) -> Cell:
    return (number(found.value), *_bounds(found.interval, number)) if found else (ABSENT,)


def _share_of(found: Estimate | None) -> Cell:
    return (percent(found.value), *_bounds(found.interval, percent)) if found else (ABSENT,)


def _points(found: Estimate | None) -> Cell:
    """Difference of two shares, in percentage points."""
    return (f"{_signed(found.value)}{UNBROKEN}pp", *_bounds(found.interval, _signed)) if found else (ABSENT,)


def _copies(found: Share | None) -> Cell:
    return (f"{found.count:,} of {found.total:,}", percent_interval(found.interval)) if found else (ABSENT,)


def _bounds(interval: Interval | None, form: Callable[[Number], str]) -> Cell:
    return (interval_text(interval, form),) if interval else ()


def _signed(value: Number) -> str:
    return ABSENT if value is None else f"{100 * value:+.1f}"
