"""The configuration refuses what cannot work, and says what to write instead."""

import re

import pytest

from vapray.config import Config
from vapray.config_file import load
from vapray.errors import ConfigError


def problems(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(None, overrides)
    return str(caught.value)


def write(tmp_path, text: str | bytes):
    path = tmp_path / "config.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_misspelt_key_names_its_neighbour():
    assert "unknown key sample.guidance_scle. Did you mean guidance_scale?" in problems("sample.guidance_scle=2")


def test_a_key_unlike_any_other_lists_the_known_ones():
    assert "Known: run, cluster, pools" in problems("q=1")


def test_all_problems_are_told_at_once():
    text = problems("train.steps=abc", "sample.solver=euler", "data.image_size=-1")
    assert all(key in text for key in ("train.steps", "sample.solver", "data.image_size"))


@pytest.mark.parametrize("value", [".nan", ".inf", "-1"])
def test_a_learning_rate_that_is_no_rate_is_refused(value):
    assert "train.learning_rate" in problems(f"train.learning_rate={value}")


def test_a_number_in_scientific_notation_is_a_number():
    assert load(None, ["train.learning_rate=1e-4"]).train.learning_rate == 1e-4


def test_sizes_that_do_not_divide_are_refused_together():
    text = problems("train.batch_size=63", "data.image_size=30")
    assert "data.image_size 30 is not divisible by autoencoder.factor 4" in text
    assert "train.batch_size 63 is not divisible by train.workers 2" in text


def test_a_true_is_no_number():
    assert "train.steps" in problems("train.steps=true")


def test_a_dataset_needs_its_folder():
    assert "data.root" in problems("data.source=isic2018")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("train: {steps: 1}\ntrain: {steps: 2}\n", "train stands twice"),
        ("run: !!python/object:os.system {}\n", "could not determine a constructor"),
        ("a: &x [1]\nb: *x\n", "anchors and aliases are not accepted"),
        ("train: [1,\n", "line 2"),
        ("- 1\n", "holds list"),
        (b"run: {root: '\xff'}\n", "not UTF-8 at byte 13"),
    ],
)
def test_yaml_that_does_more_than_state_values_is_refused(tmp_path, text, complaint):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=re.escape(complaint)) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.yaml: cannot be read"):
        load(tmp_path / "gone.yaml")


def test_a_byte_order_mark_does_no_harm(tmp_path):
    assert load(write(tmp_path, b"\xef\xbb\xbftrain: {steps: 7}\n")).train.steps == 7


def test_overrides_win_over_the_file(tmp_path):
    assert load(write(tmp_path, "train: {steps: 7}\n"), ["train.steps=8"]).train.steps == 8


def test_every_field_has_a_help_text():
    def sections(model):
        yield model
        for field in model.model_fields.values():
            if hasattr(field.annotation, "model_fields"):
                yield from sections(field.annotation)

    bare = [
        f"{section.__name__}.{name}"
        for section in sections(Config)
        for name, field in section.model_fields.items()
        if not field.description and not hasattr(field.annotation, "model_fields")
    ]
    assert bare == []


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("caption.captioner=foo", "caption.captioner"),
        ("bank.encoder=foo", "bank.encoder"),
        ("bank.width=63", "bank.width"),
        ("evaluate.features=foo", "evaluate.features"),
        ("autoencoder.width=12", "autoencoder.width"),
        ("train.betas=[1, 1]", "train.betas"),
        ("sample.num_inference_steps=5000", "sample.num_inference_steps 5000 has to be below diffusion.steps 1000"),
        ("data.test_share=0.95", "leave nothing to train on"),
        ("run.seed=99999999999999999999999", "run.seed"),
        ("run.root=2024-13-45", "run.root"),
    ],
)
def test_what_would_fail_hours_later_is_refused_at_once(override, key):
    assert key in problems(override)
