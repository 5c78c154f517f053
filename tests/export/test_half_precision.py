"""A checkpoint in half precision keeps its pictures, and leaves only with a passed audit."""

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from tests.export.checkpoints import make_checkpoint
from tests.export.test_memorisation_gate import evaluate
from vapray.errors import ConfigError, DataError
from vapray.export.half_precision import write_half_precision
from vapray.sampling.sampler import Sampler


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    made = make_checkpoint(tmp_path, "pca")
    placed = tmp_path / "run" / "checkpoints" / "0123456789ab" / "files" / "final"
    placed.parent.mkdir(parents=True)
    return made.rename(placed)


def test_the_pictures_stay_and_the_last_step_is_left_out(checkpoint: Path, tmp_path: Path) -> None:
    evaluate(checkpoint, "none found")
    sizes = write_half_precision(str(checkpoint), str(tmp_path / "half"))
    assert "raw.safetensors" not in sizes and {"bank.parquet", "checkpoint.json"} < set(sizes)
    with safe_open(tmp_path / "half" / "ema.safetensors", "pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118 - not a mapping
    first, second = (
        np.asarray(Sampler.load(str(folder)).generate(0, seed=3)[0].image, dtype=int)
        for folder in (checkpoint, tmp_path / "half")
    )
    assert abs(first - second).max() <= 2


def test_a_model_without_a_passed_audit_and_a_full_folder_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No audit"):
        write_half_precision(str(checkpoint), str(tmp_path / "half"))
    with pytest.raises(ConfigError, match="has content"):
        write_half_precision(str(checkpoint), str(checkpoint))
