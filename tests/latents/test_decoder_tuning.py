"""f_D learns, f_E stays; and what the stage makes of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from tests.bad_inputs.refusal import CONFIG, DATA, refused
from vapray.config import Config
from vapray.config.loader import load_config
from vapray.errors import ConfigError
from vapray.latents.decoder_tuning import TuningRecipe, tune_decoder
from vapray.latents.fitting.build import ImagePaths, optimizer_steps, prepare_autoencoder
from vapray.latents.kl_autoencoder import KlAutoencoder
from vapray.latents.kl_network import build_autoencoder
from vapray.latents.network_autoencoder import NetworkAutoencoder
from vapray.latents.tiny_autoencoder import TinyAutoencoder

from . import trained_models
from .discs import draw_discs

SHORT = TuningRecipe(steps=30, batch_size=8, learning_rate=2e-3)


def make(kind: str) -> NetworkAutoencoder:
    torch.manual_seed(0)
    if kind == "taef2":
        return TinyAutoencoder(channels=6, width=8)
    return KlAutoencoder(build_autoencoder(channels=4, factor=4, width=8, side=16, seed=0))


def weights(autoencoder: NetworkAutoencoder) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in autoencoder.network.state_dict().items()}


@pytest.mark.parametrize("kind", ["kl", "taef2"])
def test_the_decoder_gets_better_and_every_latent_stays_the_same(kind: str) -> None:
    autoencoder, unseen = make(kind), draw_discs(16, seed=1)
    before, moments = weights(autoencoder), autoencoder.encode_moments(unseen)
    report = tune_decoder(autoencoder, draw_discs(64), unseen, SHORT, threads=1)
    assert report.after.psnr > report.before.psnr + 1
    assert report.before.lpips is report.after.lpips is None
    assert torch.equal(autoencoder.encode_moments(unseen), moments)
    changed = {name.split(".")[0] for name, weight in weights(autoencoder).items() if (weight != before[name]).any()}
    assert changed == {"kl": {"decoder", "post_quant_conv"}, "taef2": {"decoder"}}[kind]
    assert not any(weight.requires_grad for weight in autoencoder.network.parameters())
    assert len(report.loss_curve) == 30


def test_the_same_seed_tunes_the_same_weights() -> None:
    def tuned(seed: int) -> list[torch.Tensor]:
        torch.rand(seed + 1)
        autoencoder = make("kl")
        tune_decoder(autoencoder, draw_discs(16), draw_discs(2), replace(SHORT, steps=3, seed=seed), threads=1)
        return list(autoencoder.network.state_dict().values())

    first, again, other = tuned(0), tuned(0), tuned(1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_a_diverged_tuning_says_so() -> None:
    with pytest.raises(ConfigError, match="lower tune_learning_rate"):
        tune_decoder(make("kl"), draw_discs(16), draw_discs(2), replace(SHORT, learning_rate=1e30))


@pytest.fixture
def paths(tmp_path: Path) -> ImagePaths:
    files = []
    for number, image in enumerate(draw_discs(24, side=32)):
        files.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(image).save(files[-1])
    return ImagePaths(files[:16], files[16:])


@pytest.fixture
def backbone(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), tmp_path / "squeezenet.pth")
    return tmp_path / "squeezenet.pth"


def tuning(tmp_path: Path, *more: str) -> Config:
    folder = trained_models.stable_diffusion(tmp_path / "vae")
    trained = ["kind=diffusers", f"model={folder}", "factor=8", "tune_decoder_steps=4", "batch_size=4", *more]
    return load_config(None, [*(f"autoencoder.{setting}" for setting in trained), "pools.autoencoder.num_cpus=1"])


def test_the_notes_say_what_was_tuned_and_judged_with_what(tmp_path: Path, paths: ImagePaths, backbone: Path) -> None:
    heard: list[int] = []
    config = tuning(tmp_path, f"lpips_backbone={backbone}")
    autoencoder, notes = prepare_autoencoder(config, paths, lambda step, _: heard.append(step))
    tuned = notes["decoder_tuning"]
    assert heard == [1, 2, 3, 4]
    assert notes["rows"] == 16
    assert tuned["heldout"] == "8 of the validation split"
    assert tuned["perceptual"] == "uncalibrated distance (squeezenet1_1)"
    assert len(tuned["psnr"]) == len(tuned["lpips"]) == 2 and tuned["lpips"][1] > 0
    assert autoencoder.published_scaling == (0.0, 1 / 0.18215)


def test_without_weights_of_lpips_and_a_validation_split_the_notes_say_so(tmp_path: Path, paths: ImagePaths) -> None:
    _, notes = prepare_autoencoder(tuning(tmp_path), ImagePaths(paths.train, []), lambda *_: None)
    tuned = notes["decoder_tuning"]
    assert tuned["perceptual"] == "none: L1 alone"
    assert tuned["lpips"] is None
    assert tuned["heldout"] == "1 of the train split"


def test_a_fitted_autoencoder_is_tuned_after_its_fit(paths: ImagePaths) -> None:
    settings = ["steps=3", "tune_decoder_steps=2", "batch_size=4"]
    config = load_config(None, [*(f"autoencoder.{setting}" for setting in settings), "pools.autoencoder.num_cpus=1"])
    heard: list[int] = []
    _, notes = prepare_autoencoder(config, paths, lambda step, _: heard.append(step))
    assert heard == [1, 2, 3, 4, 5] and optimizer_steps(config) == 5
    assert notes["rows"] == 20
    assert np.isfinite([*notes["decoder_tuning"]["psnr"], notes["psnr_heldout"]]).all()


def test_pictures_too_small_for_lpips_and_none_at_all_are_refused(
    tmp_path: Path, paths: ImagePaths, backbone: Path
) -> None:
    config = tuning(tmp_path, f"lpips_backbone={backbone}")
    small = config.model_copy(update={"data": config.data.model_copy(update={"image_size": 16})})
    refused(CONFIG, lambda: prepare_autoencoder(small, paths, lambda *_: None), "LPIPS needs images of 32 pixels")
    gone = ImagePaths([str(tmp_path / "gone.png")], [])
    refused(DATA, lambda: prepare_autoencoder(tuning(tmp_path), gone, lambda *_: None), "no image of the train split")
