"""The command line: ``vapray demo``, ``vapray run STAGE``. Jobs on a cluster use the same :func:`run_job`."""

import signal
import sys
import time
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, NoReturn

import typer

from vapray.config_file import load
from vapray.errors import ConfigError, VaprayError
from vapray.pipeline import STAGES, run_pipeline

__all__ = ["app", "main", "run_job"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="VAP-Diffusion on Ray: labelled medical images become captions, captions and images train a "
    "prototype-conditioned U-ViT, which makes new images; they are measured. Not for clinical use.",
)

ConfigFile = Annotated[str | None, typer.Option("--config", help="YAML file; without one, the demo's settings.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="section.key=value")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


@app.command()
def demo(overrides: Overrides = None, debug: Debug = False) -> None:
    """Run every stage on drawn phantoms on this machine."""
    _run(None, overrides or (), None, debug)


@app.command(context_settings={"ignore_unknown_options": True})
def run(
    stage: Annotated[str, typer.Argument(help=f"pipeline, or one of {', '.join(s.name for s in STAGES)}")],
    overrides: Overrides = None,
    config: ConfigFile = None,
    debug: Debug = False,
) -> None:
    """Run one stage, or the whole pipeline."""
    _run(config, overrides or (), None if stage == "pipeline" else [stage], debug)


def run_job(stage: str, arguments: Sequence[str] | None = None) -> None:
    """What ``python -m jobs.STAGE`` runs: the stage with ``--config FILE key=value ...``; exits with its code."""
    job = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

    @job.command(help=f"Run {stage}. Finished and unchanged work is skipped; after a kill, the same command continues.")
    def command(overrides: Overrides = None, config: ConfigFile = None, debug: Debug = False) -> None:
        _run(config, overrides or (), None if stage == "pipeline" else [stage], debug)

    job(args=None if arguments is None else list(arguments), prog_name=f"python -m jobs.{stage}")


def main() -> None:
    """The console command ``vapray``."""
    app(prog_name="vapray")


def _run(config_file: str | None, overrides: Sequence[str], stages: list[str] | None, debug: bool) -> None:
    began = time.monotonic()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        _check_stages(stages)
        config = load(config_file, overrides)
        run_pipeline(config, stages)
        if stages is None:
            _say_where(config.run.root, time.monotonic() - began)
    except VaprayError as error:
        _fail(error, error.exit_code, debug)
    except KeyboardInterrupt as error:
        print("\nInterrupted. What was committed stays; the same command continues from there.", file=sys.stderr)
        _fail(error, 130, debug)


def _check_stages(stages: list[str] | None) -> None:
    known = [stage.name for stage in STAGES]
    unknown = [name for name in stages or () if name not in known]
    if unknown:
        raise ConfigError(f"stage {unknown[0]!r} is unknown. Known: pipeline, {', '.join(known)}.")


def _say_where(root: str, seconds: float) -> None:
    print(f"\nDone in {seconds:.0f} s. Synthetic images; not for clinical use.")
    print(f"  report   {root}/report/index.html")
    print(f"  metrics  {root}/report/metrics.json")


def _fail(error: BaseException, exit_code: int, debug: bool) -> NoReturn:
    if debug:
        traceback.print_exception(error)
    elif isinstance(error, VaprayError):
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    raise SystemExit(exit_code)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
