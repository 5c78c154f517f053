"""Files of the extractors: each change of weights counts, none runs code, what is missing is named."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.evaluation.extractor_weights import asked
from vapray.config.loader import load_config
from vapray.doctor.models import check
from vapray.errors import BackendError, CheckpointError, ConfigError
from vapray.evaluation.extractors.weight_files import features_content_hash

from . import extractor_weights as weights


def test_an_extractor_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vapray.pretrained.vision_tower_files.find_spec", lambda name: None)
    for features in ("inception_v3", "dinov2", "biomedclip"):
        with pytest.raises(BackendError, match=rf"{features}.*not installed.*\[features\]"):
            asked(features, Path("anywhere"))


def test_the_stage_runs_again_when_weights_change_and_names_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "squeezenet.pth"
    config = load_config(None, ["evaluate.features=squeezenet", f"evaluate.weights={path}"])
    (doctors,) = (one for one in check(config) if one.check == "features")
    assert doctors.state == "failed"
    with pytest.raises(ConfigError, match="no such file"):
        features_content_hash(config)
    weights.squeezenet(path, "1_0")
    before = features_content_hash(config)
    weights.squeezenet(path, "1_1")
    assert before != features_content_hash(config) != ""
    assert features_content_hash(load_config(None, [])) == ""


def test_a_file_that_would_run_code_is_refused_and_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"features.0.weight": Trap()}, tmp_path / "trap.pth")
    for features in ("squeezenet", "vgg16", "inception_v3"):
        with pytest.raises(CheckpointError, match="cannot be read as weights"):
            asked(features, tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()


def test_a_folder_of_another_model_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    folder = weights.dinov2(tmp_path / "dinov2")
    card = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(card | {"architecture": "vit_tiny_patch16_224"}))
    with pytest.raises(ConfigError, match="is not DINOv2"):
        asked("dinov2", folder)
    (folder / "config.json").write_text(json.dumps(card))
    (folder / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(CheckpointError, match="cannot be loaded by timm"):
        asked("dinov2", folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"model\.safetensors"):
        asked("dinov2", folder)
