"""Printed plan of :mod:`vapray.pipeline.dry_run`: a table, its basis, and the reasons to run stages again."""

from collections.abc import Sequence

from rich.box import Box
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from vapray.config import Config
from vapray.pipeline.dry_run import StagePlan
from vapray.runtime.forecast import ASSUMED_GPU, LAPTOP, LAST_RUN

__all__ = ["print_plan"]

WIDTH = 100
COLUMNS = ("left", "left", "right", "right", "right", "left", "right")
HEADINGS = ("stage", "state", "rows", "writes", "time", "by", "memory")
BASES = {
    LAST_RUN: "the last run of this stage in this run root, scaled by rows and by the work per row",
    LAPTOP: "the rates of a 2-core laptop; other machines differ by a factor of several",
    ASSUMED_GPU: "an assumed rate of one GPU; not measured",
}
# Rules only under the headings and above the totals.
RULED = Box("    \n    \n ── \n    \n    \n ── \n    \n    \n")


def print_plan(plans: Sequence[StagePlan], config: Config) -> None:
    """Print the plan within 100 columns; plain text if stdout is not a terminal."""
    console = Console(width=WIDTH, highlight=False, soft_wrap=False)
    console.print(f"Dry run in {config.run.root}: starts nothing, writes nothing.\n", markup=False)
    console.print(_table(plans))
    for line in [*_notes(plans, config), *_reasons(plans)]:
        console.print(line, markup=False)


def _table(plans: Sequence[StagePlan]) -> Table:
    table = Table(box=RULED, show_edge=False, pad_edge=False, show_footer=True, header_style="bold", padding=(0, 1))
    totals = ("total", *_totals(plans))
    for heading, footer, side in zip(HEADINGS, totals, COLUMNS, strict=True):
        table.add_column(heading, footer, justify="left" if side == "left" else "right", no_wrap=heading != "state")
    for plan in plans:
        table.add_row(*_cells(plan), style="dim" if plan.forecast is None else "")
    return table


def _cells(plan: StagePlan) -> tuple[str, ...]:
    left = plan.forecast
    if left is None:
        return plan.stage, plan.state, f"{plan.rows:,}", "", "", "", ""
    memory = f"{left.workers} {left.device} x {decimal(round(left.peak_bytes))}"
    time = f"~ {in_time(left.seconds)}"
    return plan.stage, plan.state, f"{plan.rows:,}", decimal(left.bytes_written), time, left.basis, memory


def _totals(plans: Sequence[StagePlan]) -> tuple[str, ...]:
    left = [plan.forecast for plan in plans if plan.forecast]
    if not left:
        return "nothing to do", "", "", "", "", ""
    fullest = max(left, key=lambda forecast: forecast.workers * forecast.peak_bytes)
    return (
        f"{len(left)} of {len(plans)} stages",
        "",
        decimal(sum(forecast.bytes_written for forecast in left)),
        f"~ {in_time(sum(forecast.seconds for forecast in left))}",
        "",
        f"at most {decimal(round(fullest.workers * fullest.peak_bytes))}",
    )


def _notes(plans: Sequence[StagePlan], config: Config) -> list[str]:
    bases = dict.fromkeys(plan.forecast.basis for plan in plans if plan.forecast)
    if not bases:
        return []
    ray = f"Ray's object store of {config.cluster.object_store_mb} MB" if not config.cluster.address else "Ray itself"
    return [
        "",
        "Sizes and times are estimates. Times are based on",
        *(f"  {basis:<10}  {BASES[basis]}" for basis in bases),
        "Memory is the peak of images, weights and activations in one worker, times the workers.",
        f"Python and torch (about 400 MB per worker) and {ray} are not included.",
    ]


def _reasons(plans: Sequence[StagePlan]) -> list[str]:
    lines = [f"[{plan.stage}] runs again: {reason}" for plan in plans for reason in plan.reasons]
    return ["", *lines] if lines else []


def in_time(seconds: float) -> str:
    """Format a duration in seconds in its two largest units."""
    units = (("year", 365 * 86400), ("day", 86400), ("h", 3600), ("min", 60), ("s", 1))
    for place, (unit, length) in enumerate(units[:-1]):
        if seconds >= length:
            smaller, below = units[place + 1]
            whole, rest = divmod(round(seconds / below) * below, length)
            parts = [(whole, unit), (rest / below, smaller)]
            return " ".join(f"{count:.0f} {_plural(name, count)}" for count, name in parts if count)
    return f"{max(seconds, 1):.0f} s"


def _plural(unit: str, count: float) -> str:
    return f"{unit}s" if unit in ("year", "day") and round(count) != 1 else unit
