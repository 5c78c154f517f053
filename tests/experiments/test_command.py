"""``vapray experiment`` on a finished run: what is there is not made again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, SMALL


def settings(*overrides: str) -> dict[str, object]:
    return {key: yaml.safe_load(value) for key, _, value in (one.partition("=") for one in overrides)}


@pytest.fixture(scope="module")
def finished(small_run, tmp_path_factory) -> tuple[Path, str]:
    """Results, and what the command said: the small run's pictures as they are, and a folder of its own pictures."""
    folder = tmp_path_factory.mktemp("experiment")
    pictures = next((small_run / "samples").glob("*/files/images/generated"))
    experiment = {
        "title": "Small",
        "question": "Does it run?",
        "settings": settings(f"run.root={small_run}", *SMALL),
        "rows": {"small": {}, "its pictures": {"folder": str(pictures)}},
        "numbers": ["fid", "kid", "recall"],
    }
    (folder / "small.yaml").write_text(yaml.safe_dump(experiment))
    return folder, ran(folder).stdout


def ran(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from vapray.cli import main; main()", "experiment", str(folder / "small.yaml")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--results", str(folder / "results"), *words],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_numbers_of_a_run_are_those_of_its_report(finished, small_run):
    record = json.loads((finished[0] / "results" / "small" / "default-seed0.json").read_text())
    report = json.loads((small_run / "report" / "metrics.json").read_text())
    assert record["metrics"] == {key: value for key, value in report.items() if key != "stages"}
    assert record["budget"]["steps"] == 12 and record["budget"]["parameters"] > 0


def test_a_folder_of_pictures_scores_what_they_score_as_generated_ones(finished, small_run):
    record = json.loads((finished[0] / "results" / "its-pictures" / "default-seed0.json").read_text())
    report = json.loads((small_run / "report" / "metrics.json").read_text())
    for number in ("fid", "kid", "precision", "recall"):
        assert record["metrics"][number] == pytest.approx(report[number], rel=1e-9), number
    assert record["metrics"]["n_generated"] == 20


def test_the_same_command_again_makes_nothing_and_says_the_same(finished):
    folder, said = finished
    again = ran(folder).stdout
    assert "0 of 2 runs are there" in said and "2 of 2 runs are there" in again
    assert said.split("\n| ")[-2:] == again.split("\n| ")[-2:]
    assert (folder / "results" / "table.md").read_text() in again
    assert "<h1>Small</h1>" in (folder / "results" / "index.html").read_text()
