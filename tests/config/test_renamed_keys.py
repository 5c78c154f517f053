"""Renamed keys: old names give the same settings and one message each; both names are an error."""

import json
from pathlib import Path

import pytest

from vapray.config import renamed_keys
from vapray.config.dotted import value_at
from vapray.config.loader import load_config
from vapray.config.renamed_keys import RENAMED_KEYS, RENAMED_VALUES, apply_renamed_keys, new_key, rename_settings
from vapray.errors import ConfigError
from vapray.experiments.records import changed_settings, deciding_settings
from vapray.experiments.results import OUTCOMES
from vapray.experiments.runner import run_names, settings_of
from vapray.experiments.spec import read_experiment

ROOT = Path(__file__).parents[2]

RENAMED = {"keys": "api_keys_file", "bank.encoder": "text_encoder.name", "models.*.wait": "models.*.max_queue"}


def applied(tree: dict) -> tuple[dict, list[str]]:
    messages: list[str] = []
    return apply_renamed_keys(tree, RENAMED, source="run.yaml", warn=messages.append), messages


def test_new_names_pass_unchanged():
    tree = {"api_keys_file": "a", "text_encoder": {"name": "clip"}, "models": [{"max_queue": 2}]}
    assert applied(tree) == (tree, [])


def test_old_names_are_moved_and_reported_once():
    tree = {"keys": "a", "bank": {"encoder": "clip", "size": 3}, "models": [{"wait": 2}, {"wait": 3}, {"name": "x"}]}
    found, messages = applied(tree)
    assert found == {
        "api_keys_file": "a",
        "bank": {"size": 3},
        "text_encoder": {"name": "clip"},
        "models": [{"max_queue": 2}, {"max_queue": 3}, {"name": "x"}],
    }
    assert [message.split()[1] for message in messages] == list(RENAMED)
    assert tree["keys"] == "a" and tree["models"][0] == {"wait": 2}


def test_wildcards_match_mappings_too():
    assert applied({"models": {"a": {"wait": 1}}})[0] == {"models": {"a": {"max_queue": 1}}}


@pytest.mark.parametrize("tree", [{}, {"bank": None}, {"bank": "x"}, {"models": 7}, {"models": [None]}, {"keyes": 1}])
def test_other_trees_are_left_to_the_validation(tree):
    assert applied(tree) == (tree, [])


@pytest.mark.parametrize(
    ("tree", "names"),
    [
        ({"keys": "a", "api_keys_file": "a"}, ("keys", "api_keys_file")),
        ({"models": [{}, {"wait": 1, "max_queue": 1}]}, ("models.1.wait", "models.1.max_queue")),
    ],
)
def test_both_names_are_an_error(tree, names):
    with pytest.raises(ConfigError, match=r"run\.yaml: {} and {} are both set".format(*names)):
        applied(tree)


VALUES = {
    "pools.*.overlap": ("pools.caption.overlap", 3),
    "bank": ("bank.width", 32),
    "audit": ("audit.images", 20),
    "run.max_bad_fraction": ("run.max_bad_fraction", 0.5),
    "caption.json_answers": ("caption.json_answers", "true"),
    "train.recompute": ("train.recompute", "true"),
    "train.balance_classes": ("train.balance_classes", "true"),
    "train.decay": ("train.decay", "constant"),
    "sample.texts": ("sample.texts", "held_out"),
    "sample.labels": ("sample.labels", "uniform"),
    "sample.null_rows": ("sample.null_rows", "apart"),
    "sample.bank_classes": ("sample.bank_classes", "{AKIEC: AK}"),
    "sample.bank": ("sample.bank", "runs/other"),
    "evaluate.pixels": ("evaluate.pixels", "caffe"),
    "model.prototypes.instead": ("model.prototypes.instead", "block"),
    "caption.image_side": ("caption.image_side", 64),
    "caption.captions": ("caption.captions", "captions.csv"),
}
"""A valid value for each old key; for the others 0.5 or 2."""
NEEDED = {
    "sample.bank_classes": ["sample.caption_run=runs/other"],
    "caption.captions": ["caption.captioner=precomputed", "data.source=folder", "data.root=data"],
    "caption.corrupted": ["caption.captioner=ground_truth"],
    "caption.json_answers": ["caption.captioner=openai", "caption.model=m"],
    "evaluate.pixels": ["evaluate.features=vgg16", "evaluate.weights=w"],
    "model.prototypes.instead": ["model.prototypes.enabled=false"],
}
COUNTS = ("accumulate_steps", "report_every", "neighbours", "halves", "resamples", "control_rounds")


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """A process that has printed no old name yet, in a folder with a captions file."""
    monkeypatch.setattr(renamed_keys, "_warned", set())
    monkeypatch.chdir(tmp_path)
    Path("captions.csv").write_text("image_id,caption\n")


def old_setting(pattern: str) -> tuple[str, object]:
    return VALUES.get(pattern, (pattern, 2 if pattern.endswith(COUNTS) else 0.5))


@pytest.mark.parametrize("pattern", RENAMED_KEYS)
def test_an_old_key_sets_what_its_new_name_sets(pattern, fresh, capsys):
    old, value = old_setting(pattern)
    new, more = new_key(old), NEEDED.get(pattern, [])
    assert new != old
    by_old = load_config(None, [*more, f"{old}={value}"])
    said = capsys.readouterr().err
    assert said.count("was renamed to") == (2 if value == "apart" else 1)
    assert f"{pattern} was renamed to {RENAMED_KEYS[pattern]}. The old name works until version 0.3." in said
    assert load_config(None, [*more, f"{old}={value}"]) == by_old
    assert (
        load_config(None, [*more, f"{new}={'true' if value == 'apart' else value}"])
        == by_old
        != load_config(None, more)
    )
    assert capsys.readouterr().err == ""
    with pytest.raises(ConfigError, match=f"{old} and {new} are both set"):
        load_config(None, [*more, f"{old}={value}", f"{new}={value}"])


@pytest.mark.parametrize("pattern", RENAMED_KEYS)
def test_a_file_may_hold_the_old_key_but_not_both(pattern, fresh, capsys):
    old, value = old_setting(pattern)
    new, more = new_key(old), NEEDED.get(pattern, [])

    def file(*keys: str) -> str:
        sections = [key.split(".") for key in keys]
        lines = [f"{'  ' * depth}{name}:" for parts in sections for depth, name in enumerate(parts)]
        lines = [
            f"{line} {value}" if line.strip(" :") in (old.split(".")[-1], new.split(".")[-1]) else line
            for line in lines
        ]
        Path("run.yaml").write_text("\n".join(dict.fromkeys(lines)))
        return "run.yaml"

    by_file = load_config(file(old), more)
    assert capsys.readouterr().err.startswith("run.yaml: ")
    assert by_file == load_config(None, [*more, f"{old}={value}"])
    with pytest.raises(ConfigError, match=r"run\.yaml: .* are both set; they name the same setting\. Fix: remove "):
        load_config(file(old, new), more)


@pytest.mark.parametrize(
    ("key", "old", "new"), [(key, old, new) for key, values in RENAMED_VALUES.items() for old, new in values.items()]
)
def test_an_old_value_is_its_new_one(key, old, new, fresh, capsys):
    needed = ["caption.captions_file=captions.csv"] if old == "given" else []
    by_old = load_config(None, [*needed, f"{key}={old}"])
    assert value_at(by_old.model_dump(), key) == new
    message = (
        f"command line: {key}={old} was renamed to {key}={str(new).lower()}. The old name works until version 0.3.\n"
    )
    assert capsys.readouterr().err == message


def test_an_override_may_use_the_new_name_over_an_old_one_in_the_file(fresh):
    Path("run.yaml").write_text("train: {decay: linear}\nbank: {width: 32}\n")
    config = load_config("run.yaml", ["train.lr_schedule=constant", "bank.max_tokens=40"])
    assert (config.train.lr_schedule, config.text_encoder.width, config.text_encoder.max_tokens) == ("constant", 32, 40)


def test_an_error_of_an_old_key_names_its_line(fresh):
    Path("run.yaml").write_text("train:\n  steps: 5\n  report_every: 0\n")
    with pytest.raises(
        ConfigError, match=r"run\.yaml, line 3: train\.log_every = 0: expected a whole number, at least 1"
    ):
        load_config("run.yaml")


def test_every_new_key_exists():
    tree = load_config(None).model_dump()
    for new in RENAMED_KEYS.values():
        value_at(tree, new.replace("*", "caption"))
    assert rename_settings(tree, source="defaults", warn=pytest.fail) == tree


def test_committed_records_equal_their_experiment(fresh):
    """Records of the first version hold old keys and values."""
    protocol = read_experiment(str(ROOT / "results/protocol.yaml"))
    name = next(iter(run_names(protocol)))
    record = json.loads((ROOT / "results/runs" / name.file).read_text())["settings"]
    assert {"bank.encoder", "train.decay", "sample.null_rows"} <= record.keys()
    asked = deciding_settings(settings_of(protocol, name, ["data.root=data"]), OUTCOMES[protocol.stage].stages)
    assert [key for key in changed_settings(record, asked) if key != "data.phantom.n_images"] == []
    assert changed_settings(record | {"train.decay": "constant"}, asked) == ["train.lr_schedule"]
