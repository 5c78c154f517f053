"""``vapray experiment`` on a finished run: what is there is not made again."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ONE_ACTOR, ROOT, SMALL
from vapray.errors import BackendError


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
        "arms": {"small": {}, "its pictures": {"folder": str(pictures)}},
        "metrics": ["fid", "kid", "recall"],
    }
    (folder / "small.yaml").write_text(yaml.safe_dump(experiment))
    return folder, ran(folder).stdout


def ran(
    folder: Path, *words: str, name: str = "small", code: int = 0, ray: str = ""
) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-c",
        "from vapray.cli.app import main; main()",
        "experiment",
        str(folder / f"{name}.yaml"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if ray:
        environment |= {"RAY_ADDRESS": ray, "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run(
        [*command, "--results", str(folder / "results"), *words],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_numbers_of_a_run_are_those_of_its_report(finished, small_run):
    record = json.loads((finished[0] / "results" / "small" / "default-seed0.json").read_text())
    report = json.loads((small_run / "report" / "metrics.json").read_text())
    assert record["metrics"] == {key: value for key, value in report.items() if key != "stages"}
    assert record["budget"]["steps"] == 12 and record["budget"]["parameters"] > 0
    captions = next((small_run / "captions").glob("*/manifest.json"))
    prompts = json.loads(captions.read_text())["inputs"]["prompts"]
    assert record["outside"]["caption"] == record["outside"]["evaluate"] == {"prompts": prompts}
    assert "ingest" not in record["outside"], "a folder of this machine"


def test_a_folder_of_pictures_scores_what_they_score_as_generated_ones(finished, small_run):
    record = json.loads((finished[0] / "results" / "its-pictures" / "default-seed0.json").read_text())
    report = json.loads((small_run / "report" / "metrics.json").read_text())
    for number in ("fid", "kid", "precision", "recall"):
        assert record["metrics"][number] == pytest.approx(report[number], rel=1e-6), number
    assert record["metrics"]["n_generated"] == 20


def test_the_same_command_again_makes_nothing_and_says_the_same(finished):
    folder, said = finished
    again = ran(folder).stdout
    assert "Found 0 of 2 finished runs" in said and "Found 2 of 2 finished runs" in again
    assert said.split("\n| ")[-2:] == again.split("\n| ")[-2:]
    assert (folder / "results" / "table.md").read_text() in again
    assert "<h1>Small</h1>" in (folder / "results" / "index.html").read_text()


def test_rows_beside_each_other_share_what_they_both_need(small_run, tmp_path):
    root = shutil.copytree(small_run, tmp_path / "run")
    before = {path.name for path in (root / "captions").iterdir()}
    experiment = {
        "title": "Beside",
        "question": "Do they wait for each other?",
        "stage": "audit",
        "settings": settings(f"run.root={root}", *SMALL, *ONE_ACTOR, "caption.captioner=ground_truth"),
        "arms": {"all": {}, "some": {"settings": {"caption_audit.images": 40}}},
        "metrics": ["contradicted"],
    }
    (tmp_path / "beside.yaml").write_text(yaml.safe_dump(experiment))
    said = ran(tmp_path, "--parallel", "2", name="beside").stdout
    assert "Found 0 of 2 finished runs" in said and "Found 2 of 2 finished runs" in said and "runs again" not in said
    assert "all, seed 0: done" in said and "some, seed 0: done" in said
    (made,) = {path.name for path in (root / "captions").iterdir()} - before
    assert len([*(root / "captions" / made).glob("lease-*.json")]) == 2, "one was there while the other was at work"
    assert len(re.findall(r"seed 0: \[caption\] 90 rows in", said)) == 1, "one of the two has captioned"


def test_rows_beside_each_other_say_why_they_fail(tmp_path, ray_address):
    experiment = {
        "title": "Nowhere",
        "question": "Is it told?",
        "settings": {
            "run.root": str(tmp_path / "run"),
            "data.source": "folder",
            "data.root": str(tmp_path / "nowhere"),
        },
        "arms": {"one": {}, "two": {"settings": {"train.steps": 11}}},
        "metrics": ["fid"],
    }
    (tmp_path / "nowhere.yaml").write_text(yaml.safe_dump(experiment))
    done = ran(tmp_path, "--parallel", "2", name="nowhere", code=BackendError.exit_code, ray=ray_address[0])
    for row in experiment["arms"]:
        (told,) = (line for line in done.stdout.splitlines() if line.startswith(f"{row}, seed 0: exit code 3."))
        assert "DataError: " in done.stdout.partition(told)[2] + told and str(tmp_path / "nowhere") in done.stdout
    assert "2 of 2 failed: one, seed 0; two, seed 0. The causes are logged above." in done.stderr


LAST_STAGES = {
    "audit": ({"arms": {"small": {}}, "metrics": ["contradicted", "mentioned_colours", "rejected"]}, "audits"),
    "downstream": (
        {
            "arms": {
                "real": {"settings": {"downstream.arms": ["real"]}, "paper": {"auc_at_1": 0.964}},
                "both": {"settings": {"downstream.arms": ["real+synthetic"]}},
            },
            "metrics": ["auc_at_0.5", "auc_at_1", "f1_at_1"],
        },
        "downstream",
    ),
}


@pytest.mark.parametrize("stage", LAST_STAGES)
def test_an_experiment_may_end_in_another_stage(stage, small_run, tmp_path, ray_address):
    description, table = LAST_STAGES[stage]
    root = shutil.copytree(small_run, tmp_path / "run")
    classifiers = ("downstream.shares=[0.5, 1]", "downstream.seeds=[0]", "downstream.steps=2")
    experiment = {
        "title": "Small",
        "question": "Does it run?",
        "stage": stage,
        "settings": settings(f"run.root={root}", *SMALL, *ONE_ACTOR, *classifiers),
        **description,
    }
    (tmp_path / f"{stage}.yaml").write_text(yaml.safe_dump(experiment))
    said = ran(tmp_path, name=stage, ray=ray_address[0]).stdout
    found = {
        path.parent.name: json.loads(path.read_text())["metrics"]
        for path in (tmp_path / "results").glob("*/default-seed0.json")
    }
    files = [json.loads(path.read_text()) for path in (root / table).glob(f"*/files/{stage}/{stage}.json")]
    assert "| small | " in said if stage == "audit" else "| real | " in said and "| 0.964 | " in said
    if stage == "audit":
        (audit,) = files
        assert found["small"]["contradicted"] == audit["findings"]["contradicted"]["value"]
        colours = next(one for one in audit["findings"]["attributes"] if one["name"] == "colours")
        assert found["small"]["mentioned_colours"] == colours["mentioned"]["value"] > 0
        assert "90 captions held against the truth of drawn pictures." in said
    else:
        rows = {(row["arm"], row["share"]): row for one in files for row in one["rows"]}
        for row, arm in (("real", "real"), ("both", "real+synthetic")):
            assert found[row]["auc_at_0.5"] == rows[arm, 0.5]["auc"]["value"]
            assert found[row]["f1_at_1"] == rows[arm, 1.0]["f1"]["value"]
        assert "real | – | – | " not in said and "Mean ± standard deviation" in said
