"""What the audit leaves in a run, and that a run whose audit cannot tell keeps its model."""

import json
from pathlib import Path

import pytest

from vapray.checkpoint import manifest_sha256
from vapray.errors import DataError
from vapray.evaluation.memorisation.planting import PLANTED, PLANTS
from vapray.export.folder import export_checkpoint
from vapray.files import FileStore


def test_the_audit_speaks_of_this_checkpoint_and_of_every_generated_picture(
    small_run: Path, small_checkpoint: Path
) -> None:
    found = json.loads((small_run / "report" / "memorisation.json").read_text())
    assert found["checkpoint_sha256"] == manifest_sha256(FileStore(str(small_checkpoint)), "")
    assert found["weights"] == "ema"
    assert found["pixels"]["n_generated"] == found["features"]["n_generated"] == 20
    assert found["pixels"]["n_planted"] == PLANTED * len(PLANTS)
    assert found["n_training"] == 63
    assert found["planted_found"]["flipped"] == 1
    assert {pair["generated"] for pair in found["nearest_by_pixels"]} == {
        f"sample/generated-{number:06d}" for number in range(20)
    }


def test_its_numbers_stand_in_the_metrics_and_its_pairs_in_the_report(small_run: Path) -> None:
    metrics = json.loads((small_run / "report" / "metrics.json").read_text())
    assert metrics["further"]["copies_n_held_out"] == 18
    assert metrics["intervals"]["copies_share_pixels"]["method"] == "Clopper-Pearson"
    page = (small_run / "report" / "index.html").read_text()
    assert "Copies of training images: cannot tell" in page
    assert "Copies cannot be ruled out" in page
    assert "Nearest in pixels" in page and "Nearest in features" in page


def test_too_few_held_out_pictures_keep_the_model_at_home(small_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Too few held-out images: 18 share no group with training images"):
        export_checkpoint(str(small_checkpoint), str(tmp_path / "model"))
