"""An export gives the sampler's pixels where there is no vapray, whatever the model is made of."""

import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.bank.tiny_models import bert
from tests.export.checkpoints import KINDS, make_checkpoint
from vapray.export.folder import export_checkpoint
from vapray.latents.file_names import WEIGHTS_FILE
from vapray.sampling.generated import SamplingSettings
from vapray.sampling.provenance import read_provenance
from vapray.sampling.sampler import Sampler

ELSEWHERE = Path(__file__).parent / "elsewhere.py"
OTHER = {"num_inference_steps": 4, "guidance_scale": 1.5, "guidance_convention": "classifier_free", "solver": "ddim"}
INTERVAL = {"num_inference_steps": 3, "guidance_interval": [1, 500]}
TEXT = "a small red round lesion"


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


def lose_a_weight(folder: Path) -> None:
    (folder / "SHA256SUMS").unlink()
    path = folder / "model" / WEIGHTS_FILE
    weights = load_file(path)
    del weights["position"]
    save_file(weights, path)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "model damaged": lambda folder: flip_a_bit(folder / "model" / WEIGHTS_FILE),
    "vae damaged": lambda folder: flip_a_bit(folder / "vae" / WEIGHTS_FILE),
    "vae missing": lambda folder: (folder / "vae" / WEIGHTS_FILE).unlink(),
    "captions missing": lambda folder: (folder / "model" / "captions.json").unlink(),
    "weight missing": lose_a_weight,
    "card completed": lambda folder: (folder / "README.md").write_text("license: apache-2.0\n"),
}


@dataclasses.dataclass
class Answers:
    """What came of asking exports elsewhere."""

    pixels: dict[str, NDArray[Any]]
    pngs: dict[str, list[bytes]]
    errors: dict[str, str]
    loaded: list[str]


def ask(scratch: Path, asked: dict[str, tuple[Path, dict[str, Any], dict[str, Any]]]) -> Answers:
    """Load each (folder, options) and draw with its arguments, in one interpreter without vapray."""
    scratch.mkdir()
    plan = [[str(folder), options, arguments] for folder, options, arguments in asked.values()]
    (scratch / "asked.json").write_text(json.dumps({"threads": torch.get_num_threads(), "asked": plan}))
    command = [sys.executable, "-I", "-S", ELSEWHERE, sysconfig.get_path("purelib"), scratch / "asked.json"]
    environment = {**os.environ, "HF_MODULES_CACHE": str(scratch / "modules"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((scratch / "errors.json").read_text())
    names = dict(zip(map(str, range(len(asked))), asked, strict=True))
    pixels = {names[number]: made for number, made in np.load(scratch / "answers.npz").items()}
    pictures = {name: [path.read_bytes() for path in sorted(scratch.glob(f"{n}-*.png"))] for n, name in names.items()}
    return Answers(pixels, pictures, {names[n]: error for n, error in found["errors"].items()}, found["loaded"])


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    return {kind: make_checkpoint(root / kind, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def answers(tmp_path_factory, checkpoints) -> Answers:
    root = tmp_path_factory.mktemp("exports")
    out = {kind: root / kind for kind in checkpoints}
    for kind, checkpoint in checkpoints.items():
        whole = kind == "open_clip"
        export_checkpoint(str(checkpoint), str(out[kind]), with_text_encoder=whole, accept_unaudited=True)
    export_checkpoint(str(checkpoints["captions"]), str(root / "raw"), weights="raw", accept_unaudited=True)
    export_checkpoint(str(checkpoints["captions"]), str(root / "without_bank"), with_bank=False, accept_unaudited=True)
    export_checkpoint(str(checkpoints["tower"]), str(root / "whole"), with_text_encoder=True, accept_unaudited=True)
    touched = {name: shutil.copytree(out["captions"], root / name) for name in DAMAGE}
    for name, damage in DAMAGE.items():
        damage(touched[name])
    tower = {"tower": str(checkpoints["tower"].parent / "tower")}
    other = {"tower": str(bert(root / "other", seed=1))}
    embeds = Sampler.load(str(checkpoints["tower"])).encoder.encode(["a dark lesion"])[0].tolist()
    asked = {
        **{kind: (out[kind], {}, {"label": 1, "seed": 5, "n": 2}) for kind in KINDS if kind != "tower"},
        "tower": (out["tower"], tower, {"label": 1, "seed": 5, "n": 2}),
        "tower, text": (out["tower"], tower, {"label": 1, "seed": 5, "caption": "a dark lesion"}),
        "tower, whole": (root / "whole", {}, {"label": 1, "seed": 5, "caption": "a dark lesion"}),
        "tower, tokens": (out["tower"], {}, {"label": 1, "seed": 5, "prompt_embeds": embeds}),
        "tower, nowhere": (out["tower"], {}, {"label": 1}),
        "tower, another": (out["tower"], other, {"label": 1}),
        "drawn": (out["captions"], {}, {"label": "melanoma", "seed": 9, "n": 3}),
        "text": (out["captions"], {}, {"label": "a | pipe", "caption": TEXT, "seed": 2}),
        "other settings": (out["captions"], {}, {"label": "melanoma", "seed": 9, **OTHER}),
        "interval": (out["captions"], {}, {"label": "melanoma", "seed": 9, **INTERVAL}),
        "raw": (root / "raw", {}, {"label": "melanoma", "seed": 9, "n": 3}),
        "no bank, text": (root / "without_bank", {}, {"label": "a | pipe", "caption": TEXT, "seed": 2}),
        "no bank": (root / "without_bank", {}, {"label": "a | pipe"}),
        "untrusted": (out["captions"], {"trust_remote_code": False}, {"label": "melanoma"}),
        "as custom pipeline": (
            out["captions"],
            {"custom_pipeline": str(out["captions"])},
            {"label": "melanoma", "seed": 9, "n": 3},
        ),
        **{name: (folder, {}, {"label": "melanoma", "seed": 9, "n": 3}) for name, folder in touched.items()},
        "numbers": (out["captions"], {}, {"label": "melanoma", "seed": 9, "n": 3, "output_type": "np"}),
        "no text": (out["dit"], tower, {"label": 1}),
        "both": (out["tower"], tower, {"label": 1, "caption": "dark", "prompt_embeds": embeds}),
        "unknown class": (out["captions"], {}, {"label": "nevus"}),
    }
    return ask(root / "elsewhere", asked)


def sampled(checkpoint: Path, *asked: Any, **settings: Any) -> NDArray[np.uint8]:
    """What the sampler makes of it."""
    sampler = Sampler.load(str(checkpoint), weights=settings.pop("weights", "ema"))
    counts = {name: settings.pop(name) for name in ("seed", "n") if name in settings}
    chosen = dataclasses.replace(SamplingSettings.from_config(sampler.config), **settings)
    return np.stack([made.pixels for made in sampler.generate(*asked, **counts, settings=chosen)])


@pytest.mark.parametrize("kind", KINDS)
def test_every_network_autoencoder_and_text_encoder_gives_the_samplers_pixels(kind, answers, checkpoints):
    assert kind not in answers.errors
    wanted = sampled(checkpoints[kind], 1, seed=5, n=2)
    np.testing.assert_array_equal(answers.pixels[kind], wanted)
    assert not np.array_equal(wanted[0], wanted[1])


@pytest.mark.parametrize(
    ("name", "asked", "settings"),
    [
        ("drawn", ("melanoma",), {"seed": 9, "n": 3}),
        ("text", ("a | pipe", TEXT), {"seed": 2}),
        ("no bank, text", ("a | pipe", TEXT), {"seed": 2}),
        ("raw", ("melanoma",), {"seed": 9, "n": 3, "weights": "raw"}),
        ("other settings", ("melanoma",), {"seed": 9, **OTHER}),
        ("interval", ("melanoma",), {"seed": 9, **INTERVAL, "guidance_interval": (1, 500)}),
    ],
)
def test_a_trained_model_gives_the_samplers_pixels(name, asked, settings, answers, checkpoints):
    wanted = sampled(checkpoints["captions"], *asked, **settings)
    np.testing.assert_array_equal(answers.pixels[name], wanted)


def test_the_ways_of_asking_differ(answers):
    ones = [answers.pixels[name][0] for name in ("drawn", "raw", "other settings", "interval")]
    assert not any(np.array_equal(one, ones[0]) for one in ones[1:])


def test_tokens_stand_for_the_caption_that_they_are_of(answers, checkpoints):
    wanted = sampled(checkpoints["tower"], 1, "a dark lesion", seed=5)
    np.testing.assert_array_equal(answers.pixels["tower, text"], wanted)
    np.testing.assert_array_equal(answers.pixels["tower, whole"], wanted)
    np.testing.assert_array_equal(answers.pixels["tower, tokens"], wanted)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no bank", "ValueError: caption = None: this export has no prompt bank"),
        ("unknown class", "ValueError: class 'nevus'"),
        ("tower, nowhere", "ValueError: text_encoder = None: captions need it"),
        ("tower, another", "ValueError: text_encoder: not the one of the training"),
        ("no text", "ValueError: text_encoder: not the one of the training"),
        ("both", "ValueError: expected n from 1"),
        ("untrusted", "ValueError: The directory "),
        ("model damaged", "ValueError: model/diffusion_pytorch_model.safetensors: changed since the export"),
        ("vae damaged", "ValueError: vae/diffusion_pytorch_model.safetensors: changed since the export"),
        (
            "vae missing",
            ("OSError: Error no file named diffusion_pytorch_model", "ValueError: vae/diffusion_pytorch_model"),
        ),
        ("captions missing", "ValueError: model/captions.json: changed since the export"),
    ],
)
def test_a_refusal_names_its_cause(name, said, answers):
    assert answers.errors[name].startswith(said)


def test_weights_of_another_network_are_refused(answers):
    assert "weights of another network than config.json" in answers.errors["weight missing"]


def test_nothing_of_ours_is_loaded(answers):
    assert answers.loaded == []


@pytest.mark.parametrize("name", ["card completed", "as custom pipeline"])
def test_a_completed_card_and_the_older_way_of_loading_change_nothing(name, answers):
    np.testing.assert_array_equal(answers.pixels[name], answers.pixels["drawn"])


def test_a_picture_says_how_it_was_made(answers, checkpoints):
    sampler = Sampler.load(str(checkpoints["captions"]))
    for made, png in zip(sampler.generate("melanoma", seed=9, n=3), answers.pngs["drawn"], strict=True):
        ours = read_provenance(made.to_png())
        assert read_provenance(png) == {name: said for name, said in ours.items() if name != "Source-Image"}
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), made.pixels)


def test_numbers_are_the_pixels_between_0_and_1(answers):
    floats = answers.pixels["numbers"]
    assert floats.dtype == np.float32 and 0 <= floats.min() < floats.max() <= 1
    np.testing.assert_array_equal((floats * 255).round(), answers.pixels["drawn"])
    assert answers.pngs["numbers"] == answers.pngs["drawn"]
