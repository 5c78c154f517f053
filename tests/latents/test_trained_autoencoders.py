"""Autoencoders that were trained elsewhere, from their files: Stable Diffusion's layout and TAEF2's."""

import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.bad_inputs.refusal import CHECKPOINT, CONFIG, refused
from tests.bank.tiny_models import in_hub_cache
from vapray.config import Config
from vapray.config.loader import load_config
from vapray.data.image_loading import load_square_images
from vapray.doctor.models import check
from vapray.latents.autoencoder import load_autoencoder
from vapray.latents.content_hash import autoencoder_content_hash
from vapray.latents.fitting.build import load_pretrained
from vapray.latents.image_tensors import to_model_range, to_uint8
from vapray.latents.reconstruction import psnr_db, rebuild_pictures
from vapray.pipeline.runner import PipelineRunner
from vapray.pipeline.stages import STAGES
from vapray.runtime.progress import Display

from . import trained_models
from .discs import draw_discs

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"


def asking(kind: str, model: Path | str, *more: str) -> Config:
    sizes = {"diffusers": ("4", "8"), "taef2": ("32", "8")}[kind]
    own = [f"autoencoder.kind={kind}", f"autoencoder.model={model}", f"autoencoder.channels={sizes[0]}"]
    return load_config(None, [*own, f"autoencoder.factor={sizes[1]}", *more])


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_models.stable_diffusion(tmp_path_factory.mktemp("models") / "vae")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_models.taef2(tmp_path_factory.mktemp("models") / "taef2")


def test_diffusers_itself_gives_the_same_moments_and_pictures(vae: Path) -> None:
    from diffusers import AutoencoderKL

    images = draw_discs(3, side=32)
    ours, theirs = load_pretrained(asking("diffusers", vae)), AutoencoderKL.from_pretrained(vae).eval()
    with torch.no_grad():
        posterior = theirs.encode(to_model_range(images)).latent_dist
        rebuilt = to_uint8(theirs.decode(posterior.mean).sample)
    moments = ours.encode_moments(images)
    assert torch.allclose(moments, torch.cat([posterior.mean, posterior.logvar], 1), atol=1e-5)
    assert np.abs(ours.decode(moments[:, :4]).astype(int) - rebuilt).max() <= 1
    assert (ours.factor, ours.channels) == (8, 4)


def test_the_published_scale_is_the_latent_scale_and_a_neutral_one_is_measured(vae: Path, tmp_path: Path) -> None:
    assert load_pretrained(asking("diffusers", vae)).published_scaling == (0.0, 1 / 0.18215)
    shifted = trained_models.stable_diffusion(tmp_path / "shifted", scaling_factor=0.5, shift_factor=0.25)
    assert load_pretrained(asking("diffusers", shifted)).published_scaling == (0.25, 2.0)
    neutral = trained_models.stable_diffusion(tmp_path / "neutral", scaling_factor=1.0)
    assert load_pretrained(asking("diffusers", neutral)).published_scaling is None


def test_a_pipeline_and_the_names_of_stable_diffusions_own_files_are_read(vae: Path, tmp_path: Path) -> None:
    trained_models.stable_diffusion(tmp_path / "pipeline" / "vae", old_names=True)
    (tmp_path / "pipeline" / "model_index.json").write_text("{}")
    images = draw_discs(2, side=32)
    old = load_pretrained(asking("diffusers", tmp_path / "pipeline")).encode_moments(images)
    assert torch.equal(old, load_pretrained(asking("diffusers", vae)).encode_moments(images))


def test_a_model_in_the_hubs_cache_needs_no_network(vae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    in_hub_cache(vae, tmp_path / "cache", "some/vae", commit="a" * 40)
    config = asking("diffusers", "hf-hub:some/vae")
    assert autoencoder_content_hash(config) == "a" * 40
    assert load_pretrained(config).channels == 4


def test_taef2_halves_come_back_as_they_were_saved(pair: Path, tmp_path: Path) -> None:
    tiny, images = load_pretrained(asking("taef2", pair)), draw_discs(2, side=32)
    moments = tiny.encode_moments(images)
    assert moments.shape == (2, 64, 4, 4)
    assert (moments[:, 32:] == -30).all()
    tiny.save(tmp_path)
    again = load_autoencoder(tmp_path)
    assert torch.equal(again.encode_moments(images), moments)
    assert np.array_equal(again.decode(moments[:, :32]), tiny.decode(moments[:, :32]))
    assert tiny.published_scaling is None


def test_real_taef2_rebuilds_real_dermoscopy() -> None:
    weights, derm = REAL / "weights", REAL / "derm"
    if not (weights / "taef2_encoder.pth").is_file() or not derm.is_dir():
        pytest.skip(f"no weights of TAEF2 or no pictures in {REAL}")
    images, kept, _ = load_square_images([str(path) for path in sorted(derm.rglob("*.jpg"))[::1000]], 128)
    assert len(kept) >= 6
    rebuilt = rebuild_pictures(load_pretrained(asking("taef2", weights)), images)
    assert psnr_db(rebuilt, images) > 33  # another number of normalization groups gives 32 at most
    assert np.abs(rebuilt.astype(float).mean((0, 1, 2)) - images.mean((0, 1, 2))).max() < 5


def test_other_weights_make_another_signature_and_a_touched_folder_does_not(pair: Path, tmp_path: Path) -> None:
    for kind, folder, weights in (
        ("diffusers", trained_models.stable_diffusion(tmp_path / "vae"), "diffusion_pytorch_model.safetensors"),
        ("taef2", Path(shutil.copytree(pair, tmp_path / "pair")), "taef2_decoder.pth"),
    ):
        before = autoencoder_content_hash(asking(kind, folder))
        (folder / "README.md").write_text("what it is")
        assert autoencoder_content_hash(asking(kind, folder)) == before != ""
        data = bytearray((folder / weights).read_bytes())
        data[-1] ^= 1
        (folder / weights).write_bytes(data)
        assert autoencoder_content_hash(asking(kind, folder)) != before
    assert autoencoder_content_hash(Config()) == ""


def test_the_stage_runs_again_when_the_weights_of_the_model_or_of_lpips_change(pair: Path, tmp_path: Path) -> None:
    backbone = tmp_path / "backbone.pth"
    backbone.write_bytes(b"1")
    folder = Path(shutil.copytree(pair, tmp_path / "pair"))
    tuned = ["autoencoder.tune_decoder_steps=5", f"autoencoder.lpips_backbone={backbone}"]
    config = asking("taef2", folder, *tuned, f"run.root={tmp_path / 'run'}")
    (stage,) = (stage for stage in STAGES if stage.name == "autoencoder")
    looks = [PipelineRunner(config, Display()).status(stage).inputs]
    backbone.write_bytes(b"2")
    looks += [PipelineRunner(config, Display()).status(stage).inputs]
    shutil.copy(folder / "taef2_decoder.pth", folder / "taef2_encoder.pth")
    looks += [PipelineRunner(config, Display()).status(stage).inputs]
    changed = [{key for key in one if one[key] != other[key]} for one, other in pairwise(looks)]
    assert changed == [{"perceptual network"}, {"autoencoder model"}]


def write_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_files_that_are_missing_or_of_another_class_are_told_before_anything_starts(tmp_path: Path) -> None:
    folder = trained_models.stable_diffusion(tmp_path / "vae")
    sign = lambda *more: lambda: autoencoder_content_hash(asking("diffusers", folder, *more))  # noqa: E731
    refused(CONFIG, sign("autoencoder.channels=16"), "has 4 channels and factor 8", "set autoencoder.channels=4")
    write_config(folder, _class_name="VQModel")
    refused(CONFIG, sign(), f"{folder}/config.json", "'VQModel', expected 'AutoencoderKL'")
    (folder / "config.json").write_text("{")
    refused(CONFIG, sign(), f"{folder}/config.json: cannot be read as JSON")
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    refused(CONFIG, sign(), "autoencoder.model", "no diffusion_pytorch_model.safetensors")
    refused(CONFIG, lambda: autoencoder_content_hash(asking("taef2", folder)), "no taef2_encoder.pth; no taef2_decoder")
    refused(CONFIG, lambda: autoencoder_content_hash(asking("taef2", tmp_path / "gone")), "gone: no such directory")


def test_damaged_weights_and_those_of_another_network_are_refused(tmp_path: Path) -> None:
    folder = trained_models.stable_diffusion(tmp_path / "vae")
    opening = lambda: load_pretrained(asking("diffusers", folder))  # noqa: E731
    write_config(folder, layers_per_block=3)
    refused(
        CHECKPOINT,
        opening,
        f"autoencoder.model = {folder}",
        "weights missing",
        "decoder.up_blocks.0.resnets.3",
        "copy or download",
    )
    write_config(folder, layers_per_block=2, block_out_channels=[8, 8, 16, 32])
    refused(CHECKPOINT, opening, f"autoencoder.model = {folder}")
    write_config(folder, block_out_channels=[8, 8, 16, 16])
    weights = folder / "diffusion_pytorch_model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-4] + np.float32(np.nan).tobytes())
    refused(CHECKPOINT, opening, "not finite")
    weights.write_bytes(data[:1000])
    refused(CHECKPOINT, opening, "not a readable AutoencoderKL", "copy or download")


def test_damaged_halves_of_taef2_are_refused(tmp_path: Path) -> None:
    folder = trained_models.taef2(tmp_path / "pair")
    opening = lambda: load_pretrained(asking("taef2", folder))  # noqa: E731
    encoder, decoder = folder / "taef2_encoder.pth", folder / "taef2_decoder.pth"
    whole = decoder.read_bytes()
    shutil.copy(encoder, decoder)
    refused(CHECKPOINT, opening, str(decoder), "not the decoder of TAEF2")
    decoder.write_bytes(whole[: len(whole) // 2])
    refused(CHECKPOINT, opening, f"{decoder}: cannot be read as weights", "copy or download the model again")
    decoder.write_bytes(whole)
    shutil.copy(decoder, encoder)
    refused(CHECKPOINT, opening, f"{encoder}: not the weights of TAEF2", "weights missing")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["kind=diffusers"], "needs autoencoder.model"),
        (["kind=taef2", "model=/m"], "set autoencoder.channels=32 autoencoder.factor=8"),
        (["model=/m"], "only kind = diffusers and taef2"),
        (["kind=pixels", "tune_decoder_steps=5"], "pixels have no decoder"),
        (["lpips_heads=/h", "tune_decoder_steps=5"], "needs autoencoder.lpips_backbone"),
        (["lpips_backbone=/b"], "set autoencoder.tune_decoder_steps"),
    ],
)
def test_settings_that_contradict_one_another_are_refused(given: list[str], told: str) -> None:
    refused(CONFIG, lambda: load_config(None, [f"autoencoder.{setting}" for setting in given]), told)


def test_latents_of_an_autoencoder_are_not_turned() -> None:
    told = "the latents of a turned image are not turned latents"
    refused(CONFIG, lambda: load_config(None, ["train.quarter_turns=true"]), told)


def test_the_doctor_says_whether_the_autoencoder_can_be_had(vae: Path, tmp_path: Path) -> None:
    shown = {
        "kl": Config(),
        "there": asking("diffusers", vae),
        "not fetched": asking("diffusers", "hf-hub:some/vae"),
        "gone": asking("taef2", tmp_path / "gone"),
        "no lpips": asking("diffusers", vae, "autoencoder.tune_decoder_steps=5", "autoencoder.lpips_backbone=/none"),
    }
    found = {name: next(f for f in check(config) if f.check == "autoencoder") for name, config in shown.items()}
    states = {name: finding.state for name, finding in found.items()}
    assert states == {"kl": "ok", "there": "ok", "not fetched": "failed", "gone": "failed", "no lpips": "failed"}
    assert str(vae) in found["there"].found
