"""The command ``vapray capacity``; what it needs is imported inside of it, so that ``--help`` answers at once."""

import itertools
from collections.abc import Sequence
from typing import Annotated

import typer

from vapray.command import ended_well
from vapray.errors import ConfigError

__all__ = ["capacity"]


def capacity(
    plan: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PLAN.yaml] [KEY=VALUE]...", help="Such as config=FILE images=1000000 gpus=64."),
    ] = None,
    across: Annotated[
        list[str] | None, typer.Option("--across", metavar="KEY=V,V", help="A line for each value; may stand often.")
    ] = None,
    simulate: Annotated[
        str | None, typer.Option("--simulate", metavar="STAGE", help="Pools of growing size, event by event.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Reckon hours, money, requests and memory of a run on a cluster, and what gives way first; starts nothing."""
    with ended_well(debug):
        if simulate and (across or as_json):
            raise ConfigError("--simulate looks at one plan and prints a table: leave out --across and --json.")
        _reckon(plan or (), across or (), simulate, as_json=as_json)


def _reckon(words: Sequence[str], across: Sequence[str], stage: str | None, *, as_json: bool) -> None:
    from vapray.capacity import table
    from vapray.capacity.pipeline import estimate
    from vapray.capacity.plan import load_plan
    from vapray.capacity.pool_sizes import pool_sizes

    files, settings = [word for word in words if "=" not in word], [word for word in words if "=" in word]
    if len(files) > 1:
        raise ConfigError(f"{files[1]}: a second plan beside {files[0]}. Give one file, and key=value.")
    chosen = itertools.product(*map(_values, across))
    plans = [load_plan(next(iter(files), None), [*settings, *values]) for values in chosen]
    if stage:
        table.print_pool_sizes(pool_sizes(plans[0], stage))
        return
    estimates = [estimate(plan) for plan in plans]
    if as_json:
        print(table.to_json(estimates))
    elif across:
        table.print_sweep(estimates)
    else:
        table.print_estimate(estimates[0])


def _values(word: str) -> list[str]:
    key, equals, values = word.partition("=")
    if not equals or not values:
        raise ConfigError(f"--across {word!r}: wanted key=value,value, such as gpus=8,64.")
    return [f"{key}={value}" for value in values.split(",")]
