"""An estimate for a person's eyes: a table of stages, or one line for each of many plans; and what it rests on."""

import json
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from vapray.capacity.estimate import ADVICE, Estimate, StageEstimate, fields_of
from vapray.capacity.plan import Plan
from vapray.capacity.pool_sizes import PoolSizes
from vapray.dry_run_table import RULED, in_time

__all__ = ["print_estimate", "print_pool_sizes", "print_sweep", "to_json"]

WIDTH = 100
PURPOSE = "An estimate: nothing of it was run. Times and money marked * hang on figures that are assumed."


def print_estimate(estimate: Estimate) -> None:
    """Stages, what limits each and what to do about it."""
    console = Console(width=WIDTH, highlight=False)
    plan = estimate.plan
    heading = f"{plan.images:,} images, {plan.gpus:,} GPUs, {plan.config or 'settings of the demo'}"
    console.print(f"{heading}\n{PURPOSE}\n", markup=False)
    console.print(_stages(estimate))
    console.print()
    console.print(_requests(estimate))
    for line in [*_advice(estimate), *_basis(estimate)]:
        console.print(line, markup=False, soft_wrap=True)


def print_sweep(estimates: Sequence[Estimate]) -> None:
    """A line for each."""
    columns = ("images", "GPUs", "time", "GPU-hours", "busy", "cost", "stored", "limited first by")
    rows = [
        (
            f"{one.plan.images:,}",
            f"{one.plan.gpus:,}",
            _starred(in_time(one.wall_seconds), one),
            f"{one.gpu_hours:,.0f}",
            f"{one.gpu_share:.0%}",
            _starred(f"{one.cost:,.0f}", one),
            decimal(round(one.bytes_stored)),
            f"{one.limits_first.stage}: {one.limits_first.bottleneck}",
        )
        for one in estimates
    ]
    console = Console(width=WIDTH, highlight=False)
    console.print(f"{PURPOSE}\n", markup=False)
    console.print(_table(columns, rows, left={"limited first by"}))


def print_pool_sizes(found: PoolSizes) -> None:
    """A line for each size."""
    console = Console(width=WIDTH, highlight=False)
    console.print(
        f"{found.stage}: {found.items:,} items of {found.item_seconds:.3g} s of an actor, {found.simulated:,} simulated"
        ", one after the other.\n"
        f"{found.bound:,.0f} actors keep the driver busy all the time; more do not help.\n",
        markup=False,
    )
    columns = ("actors", "time", "items a second", "actors at work", "idle at the tail", "driver busy")
    rows = [
        (
            f"{size:,}",
            in_time(one.wall_seconds),
            f"{one.items_per_second:,.1f}",
            f"{one.utilisation:.0%}",
            f"{one.tail_idle_share:.0%}",
            f"{one.driver_share:.0%}",
        )
        for size, one in found.outcomes.items()
    ]
    console.print(_table(columns, rows, left=set()))


def to_json(estimates: Sequence[Estimate]) -> str:
    """One object a plan, in a list."""
    return json.dumps(
        [
            {
                "plan": one.plan.model_dump(mode="json"),
                "wall_seconds": one.wall_seconds,
                "gpu_hours": one.gpu_hours,
                "gpu_share": one.gpu_share,
                "cost": one.cost,
                "bytes_stored": one.bytes_stored,
                "stages": [fields_of(stage, one.plan) for stage in one.stages],
                "notes": list(one.notes),
                "figures": _figures(one),
            }
            for one in estimates
        ],
        indent=1,
    )


def _stages(estimate: Estimate) -> Table:
    columns = ("stage", "workers", "time", "GPU-hours", "busy", "cost", "stored", "limited by")
    total = ("total", "", *_amounts(estimate), "")
    rows = [(one.stage, _workers(one), *_amounts(one, estimate.plan), one.bottleneck) for one in estimate.stages]
    return _table(columns, [*rows, total], left={"stage", "workers", "limited by"})


def _workers(stage: StageEstimate) -> str:
    device = "GPU" if stage.device == "GPU" else "process"
    return f"{stage.workers:,} {device}{('es' if device == 'process' else 's') if stage.workers > 1 else ''}"


def _amounts(of: Estimate | StageEstimate, plan: Plan | None = None) -> tuple[str, ...]:
    cost = of.cost if isinstance(of, Estimate) else of.cost(plan or Plan())
    return (
        _starred(in_time(of.wall_seconds), of),
        _amount(of.gpu_hours) if of.gpu_hours else "",
        f"{of.gpu_share:.0%}" if of.gpu_hours else "",
        _starred(_amount(cost), of),
        decimal(round(of.bytes_stored)),
    )


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def _requests(estimate: Estimate) -> Table:
    columns = ("stage", "items", "PUT", "GET", "LIST", "driver memory", "worker memory", "node disk")
    rows = [
        (
            one.stage,
            *map(_count, (one.items, one.requests.puts, one.requests.gets, one.requests.lists)),
            *(decimal(round(size)) if size else "" for size in (one.driver_bytes, one.node_bytes, one.disk_bytes)),
        )
        for one in estimate.stages
    ]
    return _table(columns, rows, left={"stage"})


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], left: set[str]) -> Table:
    table = Table(box=RULED, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="")
    for name in columns:
        table.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _advice(estimate: Estimate) -> Iterator[str]:
    yield ""
    for stage in estimate.stages:
        share = stage.phases.get(stage.bottleneck, 0.0) / stage.wall_seconds
        why = stage.exceeded.get(stage.bottleneck) or f"{share:.0%} of its time"
        yield f"{stage.stage}: {stage.bottleneck} ({why}): {ADVICE[stage.bottleneck]}."
        for limit, said in list(stage.exceeded.items())[1:]:
            yield f"{stage.stage}: {limit} ({said}): {ADVICE[limit]}."
    yield from estimate.notes
    month = estimate.bytes_stored / 1e9 * estimate.plan.prices.gigabyte_month
    yield f"What is stored costs {month:,.2f} a month."


def _basis(estimate: Estimate) -> Iterator[str]:
    yield "\nWhat it rests on (sources in vapray/capacity/figures.yaml; prices and limits are the plan's):"
    kinds: dict[str, list[str]] = {}
    for name, kind in _figures(estimate).items():
        kinds.setdefault(kind, []).append(name)
    said = {"measured": "measured, elsewhere and on less, and extrapolated", "given": "given in the plan"}
    for kind in ("given", "measured", "derived", "assumed"):
        if kind in kinds:
            yield f"  {said.get(kind, kind)}: {', '.join(kinds[kind])}"


def _figures(estimate: Estimate) -> dict[str, str]:
    return {name: figure.kind for stage in estimate.stages for name, figure in stage.figures.items()}


def _starred(text: str, of: Estimate | StageEstimate) -> str:
    stages = of.stages if isinstance(of, Estimate) else (of,)
    return f"{text}*" if any(stage.is_assumed for stage in stages) else text


def _count(count: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if count >= size:
            return f"{count / (size if unit != 'k' else 1e3):,.1f}{unit}"
    return f"{count:,.0f}"
