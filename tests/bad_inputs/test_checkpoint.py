"""Bad checkpoints and requests: never loaded, never unpickled, and told where a whole one lies."""

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vapray.sampling.sampler import Sampler

from .refusal import BACKEND, CHECKPOINT, CONFIG, DATA, refused

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def copy(small_checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint of this test's own."""
    return Path(shutil.copytree(small_checkpoint, tmp_path / "final"))


def seal(folder: Path) -> None:
    """Write the manifest that fits what lies there, as a stranger with good intentions would."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"]
    digests = {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    (folder / "manifest.json").write_text(json.dumps(digests))


def rewrite_card(folder: Path, change: Change) -> None:
    card = json.loads((folder / "checkpoint.json").read_text())
    change(card)
    (folder / "checkpoint.json").write_text(json.dumps(card))
    seal(folder)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE = {"flipped bit": flip, "cut short": lambda path: os.truncate(path, 100), "gone": Path.unlink}


@pytest.mark.parametrize("name", ["ema.safetensors", "autoencoder/config.json", "bank.parquet", "checkpoint.json"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_never_loaded(copy: Path, name: str, damage: Callable[[Path], object]) -> None:
    damage(copy / name)
    refused(CHECKPOINT, lambda: Sampler.load(str(copy)), copy, name)


def test_a_manifest_that_is_damaged_or_gone(copy: Path) -> None:
    (copy / "manifest.json").write_text("{")
    refused(CHECKPOINT, lambda: Sampler.load(str(copy)), f"{copy}/manifest.json: damaged")
    (copy / "manifest.json").unlink()
    refused(CHECKPOINT, lambda: Sampler.load(str(copy)), f"{copy}: no complete checkpoint, it has no manifest.json")


def test_another_architecture_is_told_by_its_settings_with_both_values(copy: Path) -> None:
    def change(card: dict[str, Any]) -> None:
        card["config"]["model"].update(width=32, depth=4)
        card["class_names"].append("SCC")

    rewrite_card(copy, change)
    refused(
        CHECKPOINT,
        lambda: Sampler.load(str(copy)),
        f"{copy}/ema.safetensors: another architecture: ",
        "model.width is 32 in checkpoint.json and 16 in the weights",
        "model.depth is 4 in checkpoint.json and 2 in the weights",
        "number of class_names is 6 in checkpoint.json and 5 in the weights",
        "Fix: use the version of vapray that wrote it, or train again.",
    )


CARDS: dict[str, tuple[Change, list[str]]] = {
    "a newer layout": (
        lambda card: card.update(schema=99),
        ["schema 99 was written by a newer vapray; this one reads up to 3. Fix: update it."],
    ),
    "settings of another version": (
        lambda card: (card["config"]["train"].update(wings=2), card["config"]["model"].update(depth="deep")),
        [
            "unknown key train.wings.",
            "model.depth = 'deep': expected a whole number",
            "Fix: use the version of vapray that",
        ],
    ),
    "no classes": (lambda card: card.pop("class_names"), ["no 'class_names'"]),
    "a latent space that is none": (
        lambda card: card.update(latent_space=3),
        ["Fix: use the version of vapray that wrote it"],
    ),
}


@pytest.mark.parametrize(("change", "words"), CARDS.values(), ids=CARDS)
def test_a_card_that_this_version_cannot_read(copy: Path, change: Change, words: list[str]) -> None:
    rewrite_card(copy, change)
    refused(CHECKPOINT, lambda: Sampler.load(str(copy)), f"{copy}/checkpoint.json: ", *words)


def test_averaged_weights_that_are_missing_name_those_that_are_there(copy: Path) -> None:
    (copy / "ema.safetensors").unlink()
    seal(copy)
    words = f"{copy}: ema.safetensors missing. Its weights are raw: load with weights='raw'."
    refused(CHECKPOINT, lambda: Sampler.load(str(copy)), words)
    assert Sampler.load(str(copy), weights="raw").class_names


def test_all_missing_files_are_told_at_once(copy: Path) -> None:
    for name in ("ema.safetensors", "bank.parquet", "autoencoder/config.json"):
        (copy / name).unlink()
    seal(copy)
    refused(
        CHECKPOINT, lambda: Sampler.load(str(copy)), "bank.parquet, autoencoder/config.json, ema.safetensors missing"
    )


class Trap:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.ckpt", "model.pkl", "pytorch_model.bin"])
def test_a_pickle_is_refused_and_never_opened(tmp_path: Path, name: str) -> None:
    mark, trap = tmp_path / "opened", tmp_path / "given" / name
    trap.parent.mkdir()
    trap.write_bytes(pickle.dumps(Trap(mark)))
    refused(CHECKPOINT, lambda: Sampler.load(str(trap)), f"{trap}: a pickle, and those are never opened")
    refused(CHECKPOINT, lambda: Sampler.load(str(trap.parent)), f"{name} is a pickle, and those are never opened")
    assert not mark.exists()
    pickle.loads(trap.read_bytes())
    assert mark.exists()  # so the trap would have told


def test_a_pickle_under_the_name_of_weights_is_refused_and_never_opened(copy: Path) -> None:
    (copy / "ema.safetensors").write_bytes(pickle.dumps(Trap(copy.parent / "opened")))
    seal(copy)
    refused(CHECKPOINT, lambda: Sampler.load(str(copy)), "ema.safetensors: weights: not a readable safetensors file")
    assert not (copy.parent / "opened").exists()


@pytest.mark.parametrize(
    "near",
    ["", "checkpoints", "checkpoints/V", "checkpoints/V/files", "checkpoints/V/files/steps/S",
     "checkpoints/V/files/final/autoencoder", "checkpoints/V/files/final/checkpoint.json", ".."],
)  # fmt: skip
def test_a_place_near_a_checkpoint_is_told_where_it_lies(small_run: Path, small_checkpoint: Path, near: str) -> None:
    version = small_checkpoint.parents[1]
    step = next((version / "files" / "steps").iterdir())
    path = small_run / near.replace("V", version.name).replace("S", step.name)
    refused(CHECKPOINT, lambda: Sampler.load(os.path.normpath(path)), f"Did you mean {small_checkpoint}?")


def test_places_without_a_checkpoint(tmp_path: Path, small_checkpoint: Path) -> None:
    wanted = "Fix: give RUN/checkpoints/FINGERPRINT/files/final, which `python -m jobs.train` writes."
    refused(CHECKPOINT, lambda: Sampler.load(str(tmp_path)), f"{tmp_path}: no such folder", wanted)
    shutil.copytree(small_checkpoint.parents[1], tmp_path / "checkpoints" / "abc", ignore=lambda *_: ["final"])
    refused(CHECKPOINT, lambda: Sampler.load(str(tmp_path)), "Fix: continue it by `python -m jobs.train`")
    for number in range(2):
        shutil.copytree(small_checkpoint, tmp_path / "checkpoints" / f"v{number}" / "files" / "final")
    refused(CHECKPOINT, lambda: Sampler.load(str(tmp_path)), "Found: ", "v0/files/final, ", "v1/files/final.")


def test_weights_and_devices_that_are_not_known(small_checkpoint: Path) -> None:
    path = str(small_checkpoint)
    refused(
        CONFIG, lambda: Sampler.load(path, weights="best"), "weights = 'best': unknown. Accepted: ema, raw, untrained"
    )  # type: ignore[arg-type]
    refused(BACKEND, lambda: Sampler.load(path, device="gpu"), "device 'gpu' is not on this machine. Accepted: cpu")


@pytest.fixture(scope="module")
def sampler(small_checkpoint: Path) -> Sampler:
    return Sampler.load(str(small_checkpoint))


SEED, COUNT = (
    "invalid. Accepted: an integer, at least 0 and below 2**63 - 1000",
    "invalid. Accepted: an integer, at least 1",
)
TEXT = "invalid. Accepted: text that UTF-8 can encode, or None to draw one"
REQUESTS = {
    "unknown class": ({"label": "MELL"}, CONFIG, "unknown class 'MELL'. Accepted: MEL, NV, BCC, BKL, VASC (0..4)."),
    "class number": ({"label": 99}, CONFIG, "unknown class 99. Accepted: MEL"),
    "negative class": ({"label": -1}, CONFIG, "unknown class -1. Accepted: MEL"),
    "a truth for a class": ({"label": True}, CONFIG, "unknown class True"),
    "negative seed": ({"seed": -1}, CONFIG, f"seed = -1: {SEED}"),
    "huge seed": ({"seed": 2**63}, CONFIG, f"seed = {2**63}: {SEED}"),
    "half a seed": ({"seed": 1.5}, CONFIG, f"seed = 1.5: {SEED}"),
    "seed as a text": ({"seed": "3"}, CONFIG, f"seed = '3': {SEED}"),
    "a truth for a seed": ({"seed": True}, CONFIG, f"seed = True: {SEED}"),
    "none": ({"n": 0}, CONFIG, f"n = 0: {COUNT}"),
    "a billion": (
        {"n": 10**9},
        CONFIG,
        "n = 1000000000: too large. Accepted: at most 1000; call again with seed + 1000",
    ),
    "n as a text": ({"n": "3"}, CONFIG, f"n = '3': {COUNT}"),
    "no text": ({"caption": 3}, CONFIG, f"caption = 3: {TEXT}"),
    "half a character": ({"caption": "red \ud800"}, CONFIG, f"caption = 'red \\ud800': {TEXT}"),
    "over-long caption": ({"caption": "word " * 400}, DATA, "400 tokens; expected 1 to 48"),
    "empty caption": ({"caption": ""}, DATA, "0 tokens; expected 1 to 48"),
}


@pytest.mark.parametrize(("request_", "exit_code", "words"), REQUESTS.values(), ids=REQUESTS)
def test_a_request_that_cannot_be_met(sampler: Sampler, request_: dict[str, Any], exit_code: int, words: str) -> None:
    refused(exit_code, lambda: sampler.generate(**{"label": "MEL"} | request_), words)


def test_all_that_is_wrong_with_a_request_is_told_at_once(sampler: Sampler) -> None:
    refused(CONFIG, lambda: sampler.generate("MELL", seed=-1, n=0), "class 'MELL'", "seed = -1", "n = 0")
