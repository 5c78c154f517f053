"""Bad commands: an exit code and one message, no traceback unless asked for, and Ctrl-C is obeyed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ROOT, SMALL
from vapray.config.loader import load_config
from vapray.pipeline.runner import run_pipeline

from .refusal import CONFIG, DATA, refused

Done = subprocess.CompletedProcess[str]
VAPRAY = ["-c", "from vapray.cli.app import main; main()"]
"""The console command."""


def call(*arguments: str, prefix: tuple[str, ...] = (), timeout: float = 120) -> Done:
    command = [*prefix, sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)


def test_a_stage_without_what_it_reads_names_the_job_to_run_first(tmp_path: Path) -> None:
    """Resuming nothing; before Ray starts."""
    first = {"caption": "ingest", "bank": "caption", "encode": "ingest", "train": "ingest", "sample": "bank"}
    config = load_config(None, [f"run.root={tmp_path / 'run'}", *SMALL])
    for stage, needed in first.items():
        refused(
            DATA,
            lambda stage=stage: run_pipeline(config, [stage]),
            f"{tmp_path / 'run'}: {stage} needs the output of {needed}",
            f"Fix: run `python -m jobs.{needed}` with it first, or `python -m jobs.pipeline`.",
        )


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["-m", "jobs.pipeline", "steps"], CONFIG, "command line: 'steps' is not a setting. Write section.key=value"),
        (["-m", "jobs.pipeline", "--config", "isic2018"], CONFIG, "Did you mean jobs/configs/isic2018.yaml?"),
        (
            [*VAPRAY, "run", "fly"],
            CONFIG,
            "unknown stage 'fly'. Accepted: pipeline, ingest, caption, audit, bank, autoencoder",
        ),
        ([*VAPRAY, "fly"], CONFIG, "No such command 'fly'"),
    ],
)
def test_a_command_that_cannot_be(arguments: list[str], exit_code: int, words: str) -> None:
    done = call(*arguments)
    assert done.returncode == exit_code, done
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_traceback_is_shown_when_asked_for() -> None:
    done = call("-m", "jobs.pipeline", "train.steps=0", "--debug")
    assert done.returncode == CONFIG
    assert "Traceback" in done.stderr
    assert "train.steps = 0: expected a whole number, at least 1" in done.stderr


CLOSED = ("sh", "-c", 'exec "$@" <&-', "sh")
"""Runs a command whose file descriptor 0 is free."""


@pytest.mark.parametrize("prefix", [(), CLOSED], ids=["empty", "closed"])
def test_standard_input_is_not_needed_to_be_told_what_is_wrong(tmp_path: Path, prefix: tuple[str, ...]) -> None:
    done = call("-m", "jobs.bank", f"run.root={tmp_path / 'run'}", prefix=prefix)
    assert done.returncode == DATA, done
    assert "Fix: run `python -m jobs.caption` with it first" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_closed_standard_input_does_no_harm_to_ray_whose_sockets_would_get_its_number(tmp_path: Path) -> None:
    (tmp_path / "photos" / "a").mkdir(parents=True)
    for number in range(4):
        Image.new("RGB", (40, 40), (number, 0, 0)).save(tmp_path / "photos" / "a" / f"{number}.png")
    settings = [f"run.root={tmp_path / 'run'}", "data.source=folder", f"data.root={tmp_path / 'photos'}"]
    done = call("-m", "jobs.ingest", *settings, prefix=CLOSED)
    assert done.returncode == 0, done
    assert "4 rows" in done.stdout
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_once_ends_in_good_order_and_twice_at_once(tmp_path: Path, times: int) -> None:
    command = [sys.executable, "-m", "jobs.ingest", f"run.root={tmp_path / 'run'}", "data.phantom.n_images=100000"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes) as process:
        for line in process.stdout:
            if "drawing" in line:  # Ray is up, and the work has begun
                break
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it, to the whole group
        said = process.stderr.readline() + process.stderr.readline()
        assert "Ctrl-C again ends at once" in said
        if times == 2:
            assert process.poll() is None
            os.killpg(process.pid, signal.SIGINT)
        said += process.stderr.read()
        assert process.wait(timeout=60) == 130
    assert "Traceback" not in said
    assert ("the same command continues from there" in said) == (times == 1)
