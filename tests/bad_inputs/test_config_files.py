"""Bad config files: each problem told with its line, before anything starts."""

from itertools import pairwise
from pathlib import Path

import pytest

from vapray.config.loader import load_config

from .refusal import CONFIG, refused

FILES = {
    "misspelt key": ("train:\n  stepps: 1\n", "line 2: unknown key train.stepps. Did you mean steps?"),
    "wrong value": ("run: {}\ntrain:\n  steps: 0\n", "line 3: train.steps = 0: expected a whole number, at least 1"),
    "conflict": ("train:\n  steps: 9\n  batch_size: 63\n", "line 3: train.batch_size = 63: not divisible"),
    "empty section": ("train:\n", "line 1: train = nothing: expected keys below it"),
    "duplicate key": (
        "train: {steps: 1}\ntrain: {steps: 2}\n",
        "line 2, column 1: duplicate key train, first on line 1: keep one",
    ),
    "tag": (
        "run: !!python/object:os.system {}\n",
        "line 1, column 6: the tag !!python/object:os.system is not accepted",
    ),
    "alias bomb": (
        "a: &a [x, x]\n" + "".join(f"{new}: &{new} [*{old}, *{old}]\n" for old, new in pairwise("abcdefghi")),
        "line 8, column 4: anchors and aliases are not accepted: write the value out",
    ),
    "tab": ("train:\n\tsteps: 1\n", "line 2, column 1: not YAML"),
    "open bracket": ("train: [1,\n", "line 2, column 1: not YAML"),
    "bottomless": ("[" * 1200, "nested too deeply"),
    "control character": ("a: \0\n", "not YAML: unacceptable character"),
    "list as a key": ("{[1]: 2}\n", "line 1, column 2: a key must be a scalar"),
    "number as a key": ("1: 2\n", "line 1: unknown key 1."),
    "a word that YAML takes for true, as a key": ("on: {a: 1}\n", "line 1: unknown key on."),
    "a merge key": ("train: {<<: {steps: 1}}\n", "line 1: unknown key train.<<."),
    "no sections": ("- 1\n", "contains '[1]', expected sections such as `train:`"),
    "not UTF-8": (b"run: {root: '\xff'}\n", "not UTF-8 at byte 13. Fix: save the file as UTF-8"),
}


@pytest.mark.parametrize(("content", "words"), FILES.values(), ids=FILES)
def test_a_file_that_cannot_be(tmp_path: Path, content: str | bytes, words: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    refused(CONFIG, lambda: load_config(path), path, words)


@pytest.mark.parametrize("name", ["jobs/configs/isic218.yaml", "isic2018"])
def test_a_config_file_that_is_not_there_names_its_neighbour(name: str) -> None:
    refused(CONFIG, lambda: load_config(name), f"{name}: no such file. Did you mean jobs/configs/isic2018.yaml?")


def test_a_config_file_like_no_other_lists_what_there_is(tmp_path: Path) -> None:
    refused(
        CONFIG, lambda: load_config(tmp_path / "zzz"), "no such file. Existing files: jobs/configs/chestxray14.yaml, "
    )
    refused(CONFIG, lambda: load_config(tmp_path), f"{tmp_path}: cannot be read (Is a directory)")
