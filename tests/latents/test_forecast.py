"""What making and using a trained autoencoder would cost, against the built ones."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vapray.config.loader import load_config
from vapray.latents import forecast as encoding
from vapray.latents.fitting import forecast as making
from vapray.latents.forecast import autoencoder_size
from vapray.latents.kl_shape import STABLE_DIFFUSION, KlShape
from vapray.latents.network_size import kl_size, tiny_size
from vapray.latents.patch_pca import PatchPca
from vapray.latents.tiny_autoencoder import TinyAutoencoder
from vapray.runtime.forecast import Forecast, ForecastInputs, Images, remaining

from . import trained_models

PAPER = ["data.image_size=256", "autoencoder.kind=diffusers", "autoencoder.factor=8"]


def outlook(*overrides: str) -> ForecastInputs:
    return ForecastInputs(load_config(None, [*overrides]), Images({"train": 1000}, 2, 10_000), {"images": 1000})


def flops(half: Callable[[torch.Tensor], object], channels: int, side: int) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counted:
        half(torch.zeros(1, channels, side, side))
    return counted.get_total_flops()


def parameters(network: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def test_stable_diffusions_autoencoder_has_its_83_653_863_parameters() -> None:
    assert kl_size(STABLE_DIFFUSION, 256).parameters == 83_653_863


def test_the_size_is_that_of_the_model_in_the_directory(tmp_path: Path) -> None:
    from diffusers import AutoencoderKL

    folder = trained_models.stable_diffusion(tmp_path / "vae")
    config = load_config(None, ["autoencoder.kind=diffusers", f"autoencoder.model={folder}", "autoencoder.factor=8"])
    size, network = autoencoder_size(config), AutoencoderKL.from_pretrained(folder)
    assert size.parameters == parameters(network)
    assert size.encoder_flops == pytest.approx(flops(network.encode, 3, 32), rel=0.01)
    assert size.decoder_flops == pytest.approx(flops(network.decode, 4, 4), rel=0.01)
    assert KlShape.of(folder / "config.json").factor == 8


def test_the_size_of_principal_components_is_that_of_the_fitted_ones() -> None:
    config = load_config(
        None, ["autoencoder.kind=pca", "autoencoder.channels=20", "autoencoder.factor=8", "data.image_size=32"]
    )
    size, pca = autoencoder_size(config), PatchPca(20, 8)
    assert size.parameters == parameters(pca.network)
    halves = flops(pca.network["encoder"], 3, 32), flops(pca.network["decoder"], 20, 4)
    assert (size.encoder_flops, size.decoder_flops) == halves
    made = making.forecast(outlook("autoencoder.kind=pca"))
    assert (made.rows, made.work_seconds > 0) == (0, True)


def test_the_size_of_taef2_is_that_of_the_built_one() -> None:
    size, tiny = tiny_size(32), TinyAutoencoder()
    assert size.parameters == parameters(tiny.network)
    halves = flops(tiny.network["encoder"], 3, 32), flops(tiny.network["decoder"], 32, 4)
    assert (size.encoder_flops, size.decoder_flops) == halves


def test_taking_a_model_as_it_is_costs_little_and_tuning_it_costs_its_steps() -> None:
    model = "autoencoder.model=hf-hub:some/vae"
    taken = making.forecast(outlook(*PAPER, model))
    tuned = making.forecast(outlook(*PAPER, model, "autoencoder.tune_decoder_steps=100"))
    assert (taken.rows, taken.work_seconds) == (0, 0)
    assert remaining(taken, done=0) == taken  # a stage without rows writes its files nevertheless
    assert taken.file_bytes == pytest.approx(4 * 83_653_863, rel=0.01)
    assert tuned.rows == 800
    assert tuned.work_seconds > 0 and tuned.peak_bytes > taken.peak_bytes > 4 * 83_653_863


def test_memory_of_encoding_does_not_grow_with_the_batch_beyond_what_is_taken_at_once() -> None:
    def peak(rows: int) -> Forecast:
        return encoding.forecast(
            outlook(*PAPER, "autoencoder.model=hf-hub:some/vae", f"pools.encode.batch_rows={rows}")
        )

    frames = 240 * 3 * 256**2 * 6
    assert peak(256).peak_bytes - peak(16).peak_bytes == frames
    assert peak(16).peak_bytes > peak(8).peak_bytes + 1e9
