"""Estimates as tables."""

from collections.abc import Iterator, Sequence

from rich.filesize import decimal

from vapray.capacity.constants import read_constants
from vapray.capacity.estimate import StageEstimate
from vapray.capacity.pipeline import estimate_run
from vapray.capacity.plan import Plan
from vapray.pipeline.dry_run_table import in_time

__all__ = ["print_estimate", "print_sweep"]

PURPOSE = "Estimated from forecasts and constants; nothing was run."
COLUMNS = ("time", "GPU-hours", "read", "written", "PUT", "GET", "driver memory", "limited by")


def print_estimate(plan: Plan) -> None:
    """Print a line for each stage, then the limits exceeded and the constants used."""
    stages = estimate_run(plan)
    print(f"{plan.images:,} images, {plan.gpus:,} GPUs, {plan.config or 'settings of the demo'}. {PURPOSE}\n")
    rows = [(one.stage, _hardware(one), *_cells([one], plan)) for one in stages]
    _print_table(("stage", "workers", *COLUMNS), [*rows, ("total", "", *_cells(stages, plan))])
    print("", *_notes(stages, plan), sep="\n")


def _hardware(stage: StageEstimate) -> str:
    """Return the GPUs of a stage, or the actors of one on CPUs."""
    return f"{stage.gpus:,} GPU" if stage.gpus else f"{stage.workers:,} CPU"


def print_sweep(plans: Sequence[Plan]) -> None:
    """Print a line for each plan."""
    print(f"{PURPOSE}\n")
    rows = [(f"{plan.images:,}", f"{plan.gpus:,}", *_cells(estimate_run(plan), plan)) for plan in plans]
    _print_table(("images", "GPUs", *COLUMNS), rows)


def _cells(stages: Sequence[StageEstimate], plan: Plan) -> tuple[str, ...]:
    """Return sums over stages, and what limits the longest stage, or the longest of those over a limit."""
    longest = max(stages, key=lambda stage: (bool(stage.exceeded(plan)), stage.hours))
    cause = longest.limited_by(plan)
    return (
        in_time(sum(stage.hours for stage in stages) * 3600),
        f"{sum(stage.gpu_hours for stage in stages):,.1f}",
        decimal(round(sum(stage.bytes_read.value for stage in stages))),
        decimal(round(sum(stage.bytes_written for stage in stages))),
        f"{sum(stage.puts for stage in stages):,.0f}",
        f"{sum(stage.gets for stage in stages):,.0f}",
        decimal(round(max(stage.driver_bytes.value for stage in stages))),
        cause if len(stages) == 1 else f"{longest.stage}: {cause}",
    )


def _notes(stages: Sequence[StageEstimate], plan: Plan) -> Iterator[str]:
    for stage in stages:
        yield from (f"{stage.stage}: {limit}: {needed}." for limit, needed in stage.exceeded(plan).items())
    used, known = {name for stage in stages for name in stage.constants}, read_constants(plan.constants)
    for kind in ("given", "measured", "derived", "assumed"):
        names = [name for name, constant in known.items() if name in used and constant.kind == kind]
        yield f"Constants, {kind}: {', '.join(names) or 'none'}."


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print right-aligned columns, the last one left-aligned."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        print(*(cell.rjust(width) for cell, width in zip(row[:-1], widths, strict=False)), row[-1], sep="  ")
