"""Training under real Ray Train: a damaged checkpoint, gradients that diverge, a network that does not fit."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def make_root(small_run, tmp_path) -> Callable[[str], Path]:
    """Roots in which everything up to training is finished."""

    def make(name: str) -> Path:
        root = tmp_path / name
        shutil.copytree(small_run, root, ignore=shutil.ignore_patterns("checkpoints", "samples", "measurements"))
        return root

    return make


@pytest.mark.slow
def test_a_damaged_checkpoint_is_passed_over_aloud_unless_that_is_forbidden(small_run, tmp_path, joined_job):
    root = tmp_path / "damaged"
    shutil.copytree(small_run, root, ignore=shutil.ignore_patterns("samples", "measurements", "final"))
    version = next(root.glob("checkpoints/*"))
    whole = json.loads((version / "manifest.json").read_text())["notes"]["curve"]
    (version / "manifest.json").unlink()
    older, newest = sorted((version / "files" / "steps").glob("step-*"))
    data = bytearray((newest / "raw.safetensors").read_bytes())
    data[-1] ^= 1
    (newest / "raw.safetensors").write_bytes(data)
    strict = joined_job("train", "train.strict_checkpoints=true", root=root)
    assert strict.returncode == 4, strict.stdout + strict.stderr
    assert "raw.safetensors" in strict.stderr
    done = joined_job("train", root=root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"skipping a damaged checkpoint: {newest}" in done.stdout
    curve = json.loads((version / "manifest.json").read_text())["notes"]["curve"]
    kept = int(older.name[5:])
    assert [point["loss"] for point in curve] == [point["loss"] for point in whole]
    assert [point for point in curve if point["step"] <= kept] == [point for point in whole if point["step"] <= kept]


@pytest.mark.slow
def test_training_that_diverges_stops_without_restarts_and_saves_nothing_of_it(make_root, joined_job):
    root = make_root("diverging")
    done = joined_job(
        "train", "train.learning_rate=1e30", "train.warmup_steps=0", "train.max_skipped_steps=3", root=root
    )
    assert done.returncode == 5, done.stdout + done.stderr
    assert "the gradients of 4 steps in a row" in done.stderr
    assert "lower train.learning_rate from 1e+30" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(root.glob("checkpoints/*/files/final"))


@pytest.mark.slow
def test_a_network_that_does_not_fit_in_memory_ends_with_advice_and_without_restarts(make_root, joined_job):
    root = make_root("large")
    done = joined_job("train", f"model.prototypes.per_class={10**10}", root=root)  # refused at once by every allocator
    assert done.returncode == 5, done.stdout + done.stderr
    assert re.search(r"8 images at a time .* do not fit in memory, when \d+ bytes more were requested", done.stderr)
    assert "By arithmetic not even one fits: set train.activation_checkpointing=true" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(root.glob("checkpoints/*/files/final"))
