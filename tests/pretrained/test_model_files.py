"""A model that is not there is said so at once, with what to do."""

import os
import time
from pathlib import Path

import pytest

from tests.bank.tiny_models import in_hub_cache
from vapray.captioning.vlm_files import find_vlm
from vapray.config import Config
from vapray.config.loader import load_config
from vapray.doctor.models import check
from vapray.errors import BackendError, ConfigError
from vapray.pipeline.runner import PipelineRunner
from vapray.pipeline.stages import STAGES
from vapray.pretrained.model_files import resolve_commit, sha256_of
from vapray.runtime.progress import Display


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that looks like a model's."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"12345678")
    return folder


def asking(model: Path | str) -> Config:
    return load_config(None, ["caption.captioner=vllm", f"caption.model={model}"])


def read_by_the_caption_stage(model: Path) -> dict[str, str]:
    (stage,) = (stage for stage in STAGES if stage.name == "caption")
    return PipelineRunner(asking(model), Display()).status(stage).inputs


def test_a_folder_without_a_model_and_a_folder_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no config\.json; no weights"):
        find_vlm(str(tmp_path))
    for wrong in (str(tmp_path / "gone"), "./gone", "only-a-name", "hf-hub:only-a-name"):
        with pytest.raises(ConfigError, match="no such directory"):
            find_vlm(wrong)


def test_a_hub_id_that_is_not_in_the_cache_is_refused_within_seconds_while_offline() -> None:
    began = time.monotonic()
    told = r"caption\.model: hf-hub:nobody/nothing: incomplete in the cache.*hf download nobody/nothing"
    with pytest.raises(BackendError, match=told):
        find_vlm("nobody/nothing")
    assert time.monotonic() - began < 30


def test_other_weights_of_the_same_size_make_the_caption_stage_run_again(model: Path) -> None:
    before, revision = read_by_the_caption_stage(model), find_vlm(str(model)).revision
    (model / "model.safetensors").write_bytes(b"12345679")
    os.utime(model / "model.safetensors", (2, 2))
    after = read_by_the_caption_stage(model)
    assert {name for name in after if after[name] != before[name]} == {"model"}
    assert find_vlm(str(model)).revision == after["model"] != revision == before["model"]


def test_a_tensor_changed_inside_of_gigabytes_is_noticed_without_reading_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vapray.pretrained.model_files.BYTES_READ_WHOLE", 1 << 20)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(bytes(200 << 20))
    before = sha256_of([weights])
    with weights.open("r+b") as file:
        file.seek(93 << 20)
        file.write(b"\1" * (1 << 20))  # a small tensor of a large model
    os.utime(weights, ns=(1, 1))
    assert sha256_of([weights]) != before
    with weights.open("ab") as file:
        file.write(b"\0")
    assert sha256_of([weights]) != before


def test_a_touched_folder_is_the_same_model(model: Path) -> None:
    before = read_by_the_caption_stage(model)
    for path in model.iterdir():
        os.utime(path, (1, 1))
    (model / "README.md").write_text("what it is")
    assert read_by_the_caption_stage(model) == before


def test_a_model_of_the_hub_is_known_by_its_commit(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    assert resolve_commit("some/one", None, "caption.model") == ""
    in_hub_cache(model, tmp_path / "cache", "some/one", commit="a" * 40)
    assert resolve_commit("some/one", None, "caption.model") == "a" * 40
    assert find_vlm("some/one").revision == find_vlm("hf-hub:some/one").revision == "a" * 40


def test_the_doctor_says_whether_the_model_can_be_had(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = {
        str(model): ("ok", "ok"),
        "nobody/nothing": ("failed", "warning"),
        str(tmp_path / "gone"): ("failed",) * 2,
    }
    for offline in (True, False):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
        for name, states in models.items():
            found = next(check(asking(name)))
            assert (found.check, found.state) == ("captioner", states[not offline]), found
