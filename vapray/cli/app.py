"""Command line: ``vapray demo``, ``vapray run STAGE``. Jobs on a cluster use :func:`run_job`.

Each command imports its modules when it runs, so that ``--help`` is fast.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vapray import __version__
from vapray.cli.capacity import capacity
from vapray.cli.cli_runtime import Debug, exit_on_error, write_page
from vapray.cli.experiment import experiment
from vapray.cli.export import export
from vapray.cli.lineage import lineage
from vapray.cli.service import create_key, serve, studio
from vapray.cli.trace import trace
from vapray.errors import ConfigError
from vapray.pipeline.stage_names import STAGES_OF_JOB

if TYPE_CHECKING:
    from vapray.store.version import Version

__all__ = ["app", "main", "run_job"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="VAP-Diffusion on Ray: caption labelled medical images, train a prototype-conditioned U-ViT on images and "
    "captions, generate new images and evaluate them. Not for clinical use.",
)

DEFAULT_PRESET = "modern"
ConfigFile = Annotated[str | None, typer.Option("--config", help="YAML file of settings. Default: the preset.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Override settings, as section.key=value.")
]
Preset = Annotated[
    str | None,
    typer.Option("--preset", help="Packaged recipe: modern, or paper (the defaults). Settings of a file override it."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the stages that would run, with time and size estimates; run nothing.")
]


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"vapray {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Global options."""


@app.command()
def demo(
    overrides: Overrides = None, preset: Preset = DEFAULT_PRESET, dry_run: DryRun = False, debug: Debug = False
) -> None:
    """Run every stage on generated phantom images on this machine."""
    _run(None, overrides or (), preset, None, dry_run, debug)


@app.command(context_settings={"ignore_unknown_options": True})
def run(
    stage: Annotated[str, typer.Argument(help=f"pipeline, or one of {', '.join(STAGES_OF_JOB)}")],
    overrides: Overrides = None,
    config: ConfigFile = None,
    preset: Preset = None,
    dry_run: DryRun = False,
    debug: Debug = False,
) -> None:
    """Run one stage or the complete pipeline; without --config with the preset modern."""
    _run(config, overrides or (), _preset(preset, config), stage, dry_run, debug)


@app.command()
def doctor(
    overrides: Overrides = None,
    config: ConfigFile = None,
    preset: Preset = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per check.")] = False,
    debug: Debug = False,
) -> None:
    """Check this machine, the run root, the dataset and the cluster against a config."""
    with exit_on_error(debug):
        from vapray.doctor.checks import run_checks
        from vapray.doctor.findings import exit_code, print_findings

        preset = _preset(preset, config)
        findings = print_findings(run_checks(config, overrides or (), preset), as_json=as_json)
        raise SystemExit(exit_code(findings))


@app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="RUN", help="Folder or URI of a finished run.")],
    second: Annotated[str, typer.Argument(metavar="RUN", help="Folder or URI of another finished run.")],
    html: Annotated[
        str | None, typer.Option("--html", help="Also write the comparison as an HTML page to this file.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Compare two finished runs: settings, metrics with their intervals, times."""
    with exit_on_error(debug):
        from vapray.compare import compare_runs

        comparison = compare_runs(first, second)
        print("\n".join(comparison.lines()))
        if html:
            write_page(html, comparison.to_html())


for command in (export, lineage, trace, serve, studio, create_key, capacity, experiment):
    app.command()(command)
app.command("key", hidden=True)(create_key)


def run_job(stage: str, arguments: Sequence[str] | None = None) -> None:
    """Run ``python -m jobs.STAGE``: the stage with ``--config FILE key=value ...``; exits with its exit code."""
    job = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

    @job.command(help=f"Run {stage}. Skips finished, unchanged work; after a kill, the same command continues.")
    def command(
        overrides: Overrides = None,
        config: ConfigFile = None,
        preset: Preset = None,
        dry_run: DryRun = False,
        debug: Debug = False,
    ) -> None:
        _run(config, overrides or (), preset, stage, dry_run, debug)

    job(args=None if arguments is None else list(arguments), prog_name=f"python -m jobs.{stage}")


def main() -> None:
    """Run the console command ``vapray``."""
    app(prog_name="vapray")


def _preset(given: str | None, config_file: str | None) -> str | None:
    """Preset of a command: the given one; else that of its file, or without a file the default."""
    return given or (None if config_file else DEFAULT_PRESET)


def _run(
    config_file: str | None, overrides: Sequence[str], preset: str | None, stage: str | None, dry_run: bool, debug: bool
) -> None:
    began = time.monotonic()
    with exit_on_error(debug):
        stages = _stages(stage)
        from vapray.config.loader import PRESETS, load_config, preset_of_file

        config = load_config(config_file, overrides, preset=preset)
        if preset:
            print(f"Preset: {preset}. Another: {', '.join(f'--preset {one}' for one in PRESETS if one != preset)}.")
        elif config_file and (named := preset_of_file(Path(config_file))):
            print(f"Preset: {named}, named by {config_file}.")
        if dry_run:
            from vapray.pipeline.dry_run import plan_run
            from vapray.pipeline.dry_run_table import print_plan

            print_plan(plan_run(config, stages), config)
            return
        from vapray.pipeline.runner import run_pipeline

        finished = run_pipeline(config, stages)
        if stages is None:
            _say_where(config.run.root, finished, time.monotonic() - began)


def _stages(stage: str | None) -> list[str] | None:
    """Stages that a command-line name selects; None for all.

    Raises:
        ConfigError: the name is unknown.
    """
    if stage in (None, "pipeline"):
        return None
    if stage not in STAGES_OF_JOB:
        raise ConfigError(f"unknown stage {stage!r}. Accepted: pipeline, {', '.join(STAGES_OF_JOB)}.")
    return STAGES_OF_JOB[stage]


def _say_where(root: str, finished: "Mapping[str, Version]", seconds: float) -> None:
    print(f"\nDone in {seconds:.0f} s. Synthetic images; not for clinical use.")
    print(f"  report      {root}/report/index.html")
    print(f"  metrics     {root}/report/metrics.json")
    print(f"  audit       {root}/audit/index.html")
    print(f"  checkpoint  {root}/{finished['checkpoints'].folder}/files/final")
