"""Without a network: docs/how-to/air-gapped.md names the files that code asks for; commands run in closed networks."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from vapray.bank import tower_files
from vapray.captioning import vlm_files
from vapray.evaluation.extractors.weight_files import INCEPTION_FILE
from vapray.latents import pretrained_files
from vapray.pretrained import vision_tower_files

PAGE = (ROOT / "docs" / "how-to" / "air-gapped.md").read_text()
NEEDED = {
    "`encoder=open_clip`": (tower_files.CONFIGS["open_clip"], *tower_files.WEIGHTS["open_clip"]),
    "`encoder=transformers`": (tower_files.CONFIGS["transformers"], *tower_files.WEIGHTS["transformers"]),
    "`kind=diffusers`": (*pretrained_files.FILES["diffusers"], pretrained_files.PIPELINES_FOLDER),
    "`kind=taef2`": pretrained_files.FILES["taef2"],
    "`features=inception_v3`": (INCEPTION_FILE,),
    "`dinov2`": (vision_tower_files.CONFIGS["dinov2"], *vision_tower_files.WEIGHTS["dinov2"]),
    "`biomedclip`": (vision_tower_files.CONFIGS["biomedclip"],),
    "`captioner=vllm`": (*vlm_files.SMALL, *vlm_files.WEIGHTS),
}
"""Names of files by the text of the table's second column."""


@pytest.mark.parametrize("value", NEEDED)
def test_the_table_names_the_files_that_the_code_asks_for(value: str) -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|")]
    (row,) = (line for line in rows if line.split("|")[2].strip().startswith(value))
    assert [name for name in NEEDED[value] if name not in row] == []


def test_every_file_of_a_tokenizer_is_named() -> None:
    assert [name for name in tower_files.TOKENIZERS if f"`{name}`" not in PAGE] == []


def blocked(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a network namespace without any connection."""
    unshare = ["unshare", "--net", "--map-root-user"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("no network namespaces on this machine")
    command = [*unshare, sys.executable, "-c", "from vapray.cli.app import main; main()", *words]
    paths = {"PYTHONPATH": str(ROOT), "HF_HOME": str(folder / "cache")}
    return subprocess.run(
        command, cwd=folder, env=os.environ | paths, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_demo_is_planned_without_a_network(tmp_path: Path) -> None:
    done = blocked("demo", "--dry-run", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 of 10" in done.stdout


def test_the_doctor_fails_at_once_for_models_that_are_not_here(tmp_path: Path) -> None:
    hub = "hf-hub:nobody/nothing"
    settings = (f"autoencoder.model={hub}", "autoencoder.kind=diffusers", "evaluate.features=inception_v3")
    done = blocked("doctor", "--json", "--preset", "paper", *settings, folder=tmp_path)
    found = {one["check"]: one for one in map(json.loads, done.stdout.splitlines())}
    assert (found["autoencoder"]["state"], found["features"]["state"]) == ("failed", "failed"), done.stdout
    assert INCEPTION_FILE in found["features"]["found"] and hub in found["autoencoder"]["found"]
    assert found["network"]["found"].startswith("HF_HUB_OFFLINE is set")
    assert done.returncode == found["autoencoder"]["exit_code"] == 5
