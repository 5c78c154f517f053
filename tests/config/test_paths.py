"""Paths in settings are taken as they are written, with ``~`` as the home folder."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.settings import read_settings
from tests.bad_inputs.refusal import CONFIG, refused
from vapray.config import Config
from vapray.config.dotted import value_at
from vapray.config.loader import load_config
from vapray.service.serving import _models
from vapray.store.files import FileStore

PATHS = {
    "run.root": (),
    "data.root": (),
    "data.labels": (
        "data.source=colonoscopy",
        "data.root=.",
        "data.modality=colonoscopy",
        "caption.captioner=vllm",
        "caption.model=a/b",
    ),
    "caption.prompt_set": (),
    "caption.captions_file": ("caption.captioner=precomputed", "data.source=folder", "data.root=."),
    "caption.model": ("caption.captioner=vllm",),
    "text_encoder.model": ("text_encoder.encoder=transformers",),
    "autoencoder.model": ("autoencoder.kind=taef2", "autoencoder.channels=32", "autoencoder.factor=8"),
    "autoencoder.lpips_backbone": ("autoencoder.tune_decoder_steps=1",),
    "alignment.weights": ("alignment.kind=teacher",),
    "train.init_from": (),
    "sample.caption_run": (),
    "evaluate.weights": ("evaluate.features=vgg16",),
}
"""Settings that name files, with the settings that each needs."""


@pytest.mark.parametrize(("key", "needed"), PATHS.items(), ids=PATHS)
def test_a_tilde_is_the_home_folder_in_every_setting_of_a_path(
    key: str, needed: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.yaml").write_text("image_id,caption\n")
    config = load_config(None, [*needed, f"{key}=~/a.yaml" if "root" not in key else f"{key}=~/folder"])
    assert value_at(config.model_dump(), key).startswith(f"{tmp_path}/")


def test_tables_and_phantoms_of_a_run_below_the_home_folder_lie_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    lists = ["caption_audit.others=[~/other]", "caption_audit.ratings=[~/r.json]", "downstream.weights={small: ~/w.pt}"]
    config = load_config(None, ["run.root=~/run", *lists])
    assert FileStore(config.run.root).path("") == config.run.root == str(tmp_path / "run")
    assert config.caption_audit.others == (str(tmp_path / "other"),)
    assert config.caption_audit.ratings == (str(tmp_path / "r.json"),)
    assert config.downstream.weights == {"small": str(tmp_path / "w.pt")}


def test_a_config_file_and_the_service_expand_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "config.yaml").write_text("run: {root: ~/run}  # a comment\n")
    assert load_config("~/config.yaml").run.root == str(tmp_path / "run")
    read = read_settings({"models": [{"name": "a", "checkpoint": "~/c"}], "state_dir": "~/s", "api_keys_file": "~/k"})
    assert (read.models[0].checkpoint, read.state_dir) == (str(tmp_path / "c"), str(tmp_path / "s"))
    assert read.api_keys_file == str(tmp_path / "k")


@settings(max_examples=50, deadline=None)
@given(st.from_regex(r"runs/[a-c#=~@ ._-]*[a-c#=]", fullmatch=True))
def test_a_path_of_the_command_line_is_kept_as_it_is(path: str) -> None:
    assert load_config(None, [f"run.root={path}"]).run.root == path
    assert load_config(None, settings=[f"run.root={path}"]).run.root == path


@settings(max_examples=50, deadline=None)
@given(st.from_regex(r"(/tmp/)?[a-c][a-c:#=~@?%{}\[\] ._-]*[a-c]", fullmatch=True))
def test_tables_lie_in_the_folder_that_is_named_or_nowhere(path: str) -> None:
    if "::" in path:
        refused(CONFIG, lambda: FileStore(path), "a folder with :: in its name is not supported")
    else:
        assert FileStore(path).path("") == str(Path(path).absolute())


HASHES = {
    "runs/exp #3": "runs/exp #3",
    "#3": "#3",
    "'a #b'": "a #b",
    "a#b": "a#b",
    "s3://bucket/a #1": "s3://bucket/a #1",
}


@pytest.mark.parametrize(("given_text", "root"), HASHES.items(), ids=HASHES)
def test_a_hash_begins_no_comment_on_the_command_line(given_text: str, root: str) -> None:
    assert load_config(None, [f"run.root={given_text}", "data.root=images"]).run.root == root


def test_text_after_a_value_that_has_an_end_is_refused() -> None:
    refused(CONFIG, lambda: load_config(None, ["run.root='a' #3"]), "text after the value. Fix: put the whole value")
    refused(CONFIG, lambda: load_config(None, ["train.betas=[0.5, 0.9] # both"]), "text after the value")
    refused(CONFIG, lambda: load_config(None, ["train.steps=9 # few"]), "train.steps = '9 # few': expected a whole")


def test_equals_signs_in_the_path_of_a_served_checkpoint_are_no_name() -> None:
    assert _models(["runs/a=b/final"]) == [{"name": "vapray", "checkpoint": "runs/a=b/final"}]
    assert _models(["mine=runs/a=b/final"]) == [{"name": "mine", "checkpoint": "runs/a=b/final"}]
    assert [model["name"] for model in _models(["x=a", "runs/b"])] == ["x", "vapray-1"]


def test_a_config_that_was_written_holds_no_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "~" not in Config.model_validate({"run": {"root": "~/run"}}).model_dump_json()
