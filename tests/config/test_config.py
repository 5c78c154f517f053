"""Accepted configurations; refused ones are in ``tests/bad_inputs/test_config*.py``."""

from pathlib import Path

import pytest

from vapray.config import Config
from vapray.config.execution import Pools
from vapray.config.loader import load_config


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    return path


def test_a_number_in_scientific_notation_is_a_number():
    assert load_config(None, ["train.learning_rate=1e-4"]).train.learning_rate == 1e-4


def test_a_byte_order_mark_does_no_harm(tmp_path):
    assert load_config(write(tmp_path, b"\xef\xbb\xbftrain: {steps: 7}\n")).train.steps == 7


def test_overrides_win_over_the_file(tmp_path):
    assert load_config(write(tmp_path, b"train: {steps: 7}\n"), ["train.steps=8"]).train.steps == 8


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
    ("override", "key", "value"),
    [
        ("train.learning_rate=2", "train.learning_rate", 2.0),
        ("train.betas=[0.5, 0]", "train.betas", (0.5, 0.0)),
        ("cluster.address=", "cluster.address", None),
        ("cluster.address=null", "cluster.address", None),
        ("cluster.num_cpus=3", "cluster.num_cpus", 3),
        ("run.root='2024-11-22'", "run.root", "2024-11-22"),
        ("train.flip=no", "train.flip", False),
    ],
)
def test_a_value_is_read_as_yaml(override, key, value):
    section, name = key.split(".")
    assert getattr(getattr(load_config(None, [override]), section), name) == value


def test_an_empty_file_is_the_defaults(tmp_path):
    assert load_config(write(tmp_path, b"# nothing yet\n")) == Config()


def test_what_was_written_as_json_is_read_again():
    config = load_config(None, ["train.betas=[0.5, 0.9]", "cluster.num_cpus=3"])
    assert Config.model_validate(config.model_dump(mode="json")) == config


def test_a_pool_of_which_one_key_is_set_keeps_its_other_defaults():
    pools = load_config(overrides=["pools.ingest.max_size=4", "pools.caption.max_size=3"]).pools
    assert pools.ingest == Pools().ingest.model_copy(update={"max_size": 4})
    assert pools.caption == Pools().caption.model_copy(update={"max_size": 3})
    assert pools.bank == Pools().bank
    assert load_config(overrides=["pools.caption.max_size=1"]).pools.caption.min_size == 1


def test_a_date_is_text_and_an_exponent_is_a_number():
    config = load_config(None, ["run.root=2024-11-22", "train.learning_rate=1e-4"])
    assert (config.run.root, config.train.learning_rate) == ("2024-11-22", 1e-4)
