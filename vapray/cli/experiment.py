"""CLI command ``vapray experiment``; its imports are inside the function to keep ``--help`` fast."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from vapray.cli.cli_runtime import Debug, exit_on_error, renamed_option
from vapray.errors import ConfigError

if TYPE_CHECKING:
    from vapray.experiments.records import RunName
    from vapray.experiments.spec import Experiment
    from vapray.store.files import FileStore

__all__ = ["experiment"]


def experiment(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Experiment, such as jobs/experiments/alpha_sweep.yaml.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="section.key=value")] = None,
    results: Annotated[
        str | None, typer.Option("--results", help="Folder of records and tables; default: RUN_ROOT/experiments/FILE.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Data set, for a file that describes several.")
    ] = None,
    row: Annotated[list[str] | None, typer.Option("--row", help="Run only this row. Repeatable.")] = None,
    seed: Annotated[list[int] | None, typer.Option("--seed", help="Run only this seed. Repeatable.")] = None,
    parallel: Annotated[int, typer.Option("--parallel", min=1, help="Rows and seeds to run at a time.")] = 1,
    tables_only: Annotated[
        bool, typer.Option("--tables-only", help="Write the tables of the finished runs only.")
    ] = False,
    tables: Annotated[bool, typer.Option("--tables", hidden=True, callback=renamed_option("--tables-only"))] = False,
    debug: Debug = False,
) -> None:
    """Run an experiment and write its tables; the same command resumes it."""
    with exit_on_error(debug):
        from pathlib import Path

        from vapray.experiments.runner import ANYWHERE, run_names, settings_of
        from vapray.experiments.spec import read_experiment
        from vapray.store.files import FileStore

        tables_only = tables_only or tables
        found, given = read_experiment(file, dataset), overrides or ()
        names = list(run_names(found, row or (), seed or ()))
        if not tables_only:  # report invalid settings before the first run
            for name in names:
                settings_of(found, name, given)
        if results is None:
            root = settings_of(found, names[0], given, unless_given=[ANYWHERE]).run.root
            name_parts = [Path(file).stem, *([dataset] if dataset else [])]
            results = f"{root.rstrip('/')}/experiments/{'_'.join(name_parts)}"
        if not tables_only:
            options = [*(["--dataset", dataset] if dataset else []), *(["--debug"] if debug else [])]
            command = ["experiment", file, *given, "--results", results, *options]
            _run(found, names, FileStore(results), given, command, parallel)
        _write_tables(found, FileStore(results), results, given)


def _run(
    found: "Experiment",
    names: "Sequence[RunName]",
    files: "FileStore",
    overrides: Sequence[str],
    command: Sequence[str],
    parallel: int,
) -> None:
    """Run what is not finished: in processes of ``command``, then what these left, in this one."""
    from vapray.experiments.runner import finished_runs, pending_runs, run_all, run_names, run_parallel
    from vapray.runtime.progress import Display

    finished_runs(found, run_names(found), files, overrides)  # refuse records of other settings before the first run
    if parallel > 1:
        pending = pending_runs(found, names, files, overrides, Display())
        run_parallel(pending, Display(), command=command, workers=parallel)
    run_all(found, names, files, overrides, Display())


def _write_tables(found: "Experiment", files: "FileStore", results: str, overrides: Sequence[str]) -> None:
    from vapray.experiments.runner import finished_runs, run_names
    from vapray.experiments.tables import tables_of

    records = finished_runs(found, run_names(found), files, overrides)
    if not records:
        raise ConfigError(f"{results}: no finished run, so no tables. Fix: remove --tables-only.")
    page = tables_of(found, records)
    files.write_all({"table.md": page.to_markdown().encode(), "index.html": page.to_html().encode()})
    print(f"\n{page.to_markdown()}")
    print(f"  table  {results}/table.md\n  page   {results}/index.html")
