"""CLI command ``vapray experiment``; its imports are inside the function to keep ``--help`` fast."""

from typing import Annotated

import typer

from vapray.cli.cli_runtime import Debug, exit_on_error, renamed_option
from vapray.errors import ConfigError

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

        from vapray.experiments.runner import (
            ANYWHERE,
            finished_runs,
            pending_runs,
            run_all,
            run_names,
            run_parallel,
            settings_of,
        )
        from vapray.experiments.spec import read_experiment
        from vapray.experiments.tables import tables_of
        from vapray.runtime.progress import Display
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
        files = FileStore(results)
        if not tables_only:
            finished_runs(found, run_names(found), files, given)  # refuse records of other settings first
            if parallel > 1:
                options = [*(["--dataset", dataset] if dataset else []), *(["--debug"] if debug else [])]
                command = ["experiment", file, *given, "--results", results, *options]
                pending = pending_runs(found, names, files, given, Display())
                run_parallel(pending, Display(), command=command, workers=parallel)
            run_all(found, names, files, given, Display())
        records = finished_runs(found, run_names(found), files, given)
        if not records:
            raise ConfigError(f"{results}: no finished run, so no tables. Fix: remove --tables-only.")
        page = tables_of(found, records)
        files.write_all({"table.md": page.to_markdown().encode(), "index.html": page.to_html().encode()})
        print(f"\n{page.to_markdown()}")
        print(f"  table  {results}/table.md\n  page   {results}/index.html")
