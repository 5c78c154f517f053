"""The command ``vapray capacity``; its imports are local so that ``--help`` is fast."""

import itertools
from typing import Annotated

import typer

from vapray.cli.cli_runtime import Debug, exit_on_error
from vapray.errors import ConfigError

__all__ = ["capacity"]


def capacity(
    plan: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PLAN.yaml] [KEY=VALUE]...", help="Such as config=FILE images=1000000 gpus=64."),
    ] = None,
    sweep: Annotated[
        list[str] | None, typer.Option("--sweep", metavar="KEY=V,V", help="Print a line for each value. Repeatable.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Estimate hours, GPU-hours, store traffic and memory of a run on a cluster, without running it."""
    from vapray.capacity.plan import load_plan
    from vapray.capacity.table import print_estimate, print_sweep

    with exit_on_error(debug):
        settings = [word for word in plan or () if "=" in word]
        files = [word for word in plan or () if "=" not in word]
        if len(files) > 1:
            raise ConfigError(f"{files[1]}: more than one plan. Fix: give one file and key=value overrides.")
        file = next(iter(files), None)
        if sweep:
            print_sweep([load_plan(file, [*settings, *chosen]) for chosen in itertools.product(*map(_values, sweep))])
        else:
            print_estimate(load_plan(file, settings))


def _values(word: str) -> list[str]:
    key, _, values = word.partition("=")
    return [f"{key}={value}" for value in values.split(",")]
