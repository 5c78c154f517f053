"""A model that is not there is said so at once, with what to do."""

import time
from pathlib import Path

import pytest

from vapray.captioning.model_files import find_model
from vapray.config.file import load
from vapray.doctor.models import examine
from vapray.errors import BackendError, ConfigError


def test_a_folder_without_a_model_and_a_folder_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no config\.json with weights"):
        find_model(str(tmp_path))
    for wrong in (str(tmp_path / "gone"), "./gone", "only-a-name", "hf-hub:only-a-name"):
        with pytest.raises(ConfigError, match="no such folder"):
            find_model(wrong)


def test_a_hub_id_that_is_not_in_the_cache_is_refused_within_seconds_while_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    began = time.monotonic()
    with pytest.raises(BackendError, match=r"nobody/nothing: not whole in the cache.*hf download nobody/nothing"):
        find_model("nobody/nothing")
    assert time.monotonic() - began < 30


def test_a_folders_revision_follows_its_content(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"12345678")
    first = find_model(str(tmp_path)).revision
    assert find_model(str(tmp_path)).revision == first
    (tmp_path / "config.json").write_text('{"a": 1}')
    assert find_model(str(tmp_path)).revision != first


def test_the_doctor_says_whether_the_model_can_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"12345678")
    models = {str(tmp_path): "ok", "nobody/nothing": "warning", str(tmp_path / "gone"): "failed"}
    for model, state in models.items():
        found = next(examine(load(None, ["caption.captioner=vllm", f"caption.model={model}"])))
        assert (found.check, found.state) == ("captioner", state), found
