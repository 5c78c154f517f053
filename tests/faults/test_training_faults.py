"""Training under real Ray Train: a killed rank, a terminated driver, gradients that diverge."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT, SMALL
from tests.finished_run import digests_of_the_weights
from vapray.store.checkpoint import load_latest_training_state
from vapray.store.files import FileStore

LONG = ("train.workers=2", "train.steps=300", "train.checkpoint_every=20", "train.validate_every=150")


@pytest.fixture
def make_root(small_run, tmp_path) -> Callable[[str], Path]:
    """Roots in which everything up to training is finished."""

    def make(name: str) -> Path:
        root = tmp_path / name
        shutil.copytree(small_run, root, ignore=shutil.ignore_patterns("checkpoints", "samples", "measurements"))
        return root

    return make


def start(root: Path, *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "jobs.train", f"run.root={root}", *SMALL, *overrides]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(condition: Callable[[], object], process: subprocess.Popen[str]) -> object:
    deadline = time.monotonic() + 240
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def ranks(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The worker group, as the operating system sees it."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if child.name().startswith("ray::RayTrainWo"):
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def steps_saved(root: Path) -> list[int]:
    return sorted(int(path.parent.name[5:]) for path in root.glob("checkpoints/*/files/steps/step-*/manifest.json"))


@pytest.mark.slow
def test_after_the_kill_of_one_rank_the_weights_are_those_of_an_unbroken_run(make_root, job):
    broken, whole = make_root("broken"), make_root("whole")
    process = start(broken, *LONG)
    wait_until(lambda: steps_saved(broken), process)
    group = ranks(process)
    assert len(group) == 2
    group[1].send_signal(signal.SIGKILL)
    again = wait_until(lambda: [rank for rank in ranks(process) if rank not in group], process)
    assert group[1].wait(30) is None or not group[1].is_running()
    assert again, "Ray Train started no new worker"
    saved_before = steps_saved(broken)[-1]
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert saved_before < 300, "the kill came after the last step"
    done = job("train", *LONG, root=whole)
    assert done.returncode == 0, done.stderr
    assert digests_of_the_weights(FileStore(str(broken))) == digests_of_the_weights(FileStore(str(whole)))


@pytest.mark.slow
def test_a_terminated_run_leaves_the_checkpoint_that_it_names(make_root):
    root = make_root("terminated")
    process = start(root, "train.steps=3000", "train.checkpoint_every=20", "train.validate_every=0")
    wait_until(lambda: steps_saved(root), process)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 143, output + errors
    assert "Traceback" not in errors
    step = int(re.search(r"checkpoint written at step (\d+)", output)[1])
    saved = steps_saved(root)
    assert step in saved
    assert saved[-1] - step <= 20, "training goes on until the driver ends: a checkpoint in its turn may follow"
    folder = next(root.glob("checkpoints/*/files/steps"))
    state = load_latest_training_state(FileStore(str(folder)), "", pytest.fail)
    assert json.loads(state["state.json"])["step"] == saved[-1] < 3000


@pytest.mark.slow
def test_a_damaged_checkpoint_is_passed_over_aloud_unless_that_is_forbidden(small_run, tmp_path, job):
    root = tmp_path / "damaged"
    shutil.copytree(small_run, root, ignore=shutil.ignore_patterns("samples", "measurements", "final"))
    version = next(root.glob("checkpoints/*"))
    whole = json.loads((version / "manifest.json").read_text())["notes"]["curve"]
    (version / "manifest.json").unlink()
    older, newest = sorted((version / "files" / "steps").glob("step-*"))
    data = bytearray((newest / "raw.safetensors").read_bytes())
    data[-1] ^= 1
    (newest / "raw.safetensors").write_bytes(data)
    strict = job("train", "train.strict_checkpoints=true", root=root)
    assert strict.returncode == 4, strict.stdout + strict.stderr
    assert "raw.safetensors" in strict.stderr
    done = job("train", root=root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"skipping a damaged checkpoint: {newest}" in done.stdout
    curve = json.loads((version / "manifest.json").read_text())["notes"]["curve"]
    kept = int(older.name[5:])
    assert [point["loss"] for point in curve] == [point["loss"] for point in whole]
    assert [point for point in curve if point["step"] <= kept] == [point for point in whole if point["step"] <= kept]


@pytest.mark.slow
def test_training_that_diverges_stops_without_restarts_and_saves_nothing_of_it(make_root, job):
    root = make_root("diverging")
    done = job("train", "train.learning_rate=1e30", "train.warmup_steps=0", "train.max_skipped_steps=3", root=root)
    assert done.returncode == 5, done.stdout + done.stderr
    assert "the gradients of 4 steps in a row" in done.stderr
    assert "lower train.learning_rate from 1e+30" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(root.glob("checkpoints/*/files/final"))


@pytest.mark.slow
def test_a_network_that_does_not_fit_in_memory_ends_with_advice_and_without_restarts(make_root, job):
    root = make_root("large")
    done = job("train", f"model.prototypes.per_class={10**10}", root=root)  # refused at once by every allocator
    assert done.returncode == 5, done.stdout + done.stderr
    assert re.search(r"8 images at a time .* do not fit in memory, when \d+ bytes more were requested", done.stderr)
    assert "By arithmetic not even one fits: set train.activation_checkpointing=true" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(root.glob("checkpoints/*/files/final"))
