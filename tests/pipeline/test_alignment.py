"""A teacher's features go from the pictures into training, and end there."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
from safetensors.torch import load_file

from tests.evaluation import extractor_weights


def test_a_teacher_reaches_training_and_leaves_the_checkpoint(run_copy, joined_job, tmp_path):
    plain, known = _only(run_copy / "checkpoints"), _only(run_copy / "latents")
    folder = extractor_weights.dinov2(tmp_path / "teacher")
    taught = ("alignment.kind=teacher", "alignment.share=0.5")
    assert _did("encode", joined_job("encode", *taught, f"alignment.weights={folder}", root=run_copy))
    made = _only(run_copy / "latents", known)
    rows = [row for part in made.glob("parts/*") for row in pq.read_table(part).to_pylist()]
    assert len(rows) == 180
    assert {len(row["teacher"]) for row in rows} == {32 * 4 * 4}
    assert _did("train", joined_job("train", *taught, f"alignment.weights={folder}", root=run_copy))
    final = _only(run_copy / "checkpoints", plain) / "files" / "final"
    curve = json.loads((final / "checkpoint.json").read_text())["curve"]
    assert ["alignment" in point for point in curve] == [True, True, True, True, False, False]
    assert load_file(final / "ema.safetensors").keys() == load_file(plain / "files/final/ema.safetensors").keys()
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert not _did("train", joined_job("train", *taught, f"alignment.weights={moved}", root=run_copy))


def _did(stage, done) -> bool:
    """True if the job did work, False if its result was there."""
    assert done.returncode == 0, done.stdout + done.stderr
    return f"[{stage}] unchanged" not in done.stdout


def _only(table: Path, *known: Path) -> Path:
    """The one finished version besides those that are known."""
    (found,) = {path.parent for path in table.glob("*/manifest.json")} - {*known}
    return found
