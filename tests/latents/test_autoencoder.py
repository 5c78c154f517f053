"""Laws of every autoencoder, fitted or not."""

from pathlib import Path

import numpy as np
import pytest
import torch

from vapray.errors import CheckpointError, DataError
from vapray.latents.autoencoder import Autoencoder, load_autoencoder
from vapray.latents.kl_autoencoder import KlAutoencoder
from vapray.latents.kl_network import build_autoencoder
from vapray.latents.latent_space import flip_pair, sample_latent
from vapray.latents.network_autoencoder import NetworkAutoencoder
from vapray.latents.patch_pca import fit_patch_pca
from vapray.latents.pixel_space import PixelSpace
from vapray.latents.tiny_autoencoder import TinyAutoencoder

from .discs import draw_discs


def make_autoencoder(kind: str) -> Autoencoder:
    if kind == "pixels":
        return PixelSpace()
    if kind == "pca":
        return fit_patch_pca(draw_discs(8), channels=12, factor=4, whitening=0.5)
    if kind == "taef2":
        torch.manual_seed(0)
        return TinyAutoencoder(channels=6, width=8)
    return KlAutoencoder(build_autoencoder(channels=4, factor=4, width=8, side=16, seed=0))


@pytest.fixture(params=["kl", "taef2", "pca", "pixels"])
def autoencoder(request: pytest.FixtureRequest) -> Autoencoder:
    return make_autoencoder(request.param)


def test_shapes_follow_factor_and_channels(autoencoder: Autoencoder) -> None:
    images = draw_discs(3)
    moments = autoencoder.encode_moments(images)
    side = 16 // autoencoder.factor
    assert moments.dtype == torch.float32
    assert moments.shape == (3, 2 * autoencoder.channels, side, side)
    pictures = autoencoder.decode(moments[:, : autoencoder.channels].numpy())
    assert pictures.dtype == np.uint8
    assert pictures.shape == images.shape


def test_saved_and_loaded_it_gives_the_same_pixels(autoencoder: Autoencoder, tmp_path: Path) -> None:
    autoencoder.save(tmp_path)
    again = load_autoencoder(tmp_path)
    moments = autoencoder.encode_moments(draw_discs(3))
    assert torch.equal(again.encode_moments(draw_discs(3)), moments)
    latents = moments[:, : autoencoder.channels]
    assert np.array_equal(again.decode(latents), autoencoder.decode(latents))


def test_moments_do_not_depend_on_the_batch(autoencoder: Autoencoder) -> None:
    images = draw_discs(5)
    together = autoencoder.encode_moments(images)
    alone = torch.cat([autoencoder.encode_moments(images[i : i + 1]) for i in range(5)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_the_flip_is_encoded_as_a_picture_of_its_own(autoencoder: Autoencoder) -> None:
    images = draw_discs(4)
    straight, mirrored = (autoencoder.encode_moments(half) for half in flip_pair(images))
    by_hand = np.stack([np.fliplr(image) for image in images])
    assert torch.allclose(mirrored, autoencoder.encode_moments(by_hand), atol=1e-5)
    assert not torch.allclose(mirrored, straight, atol=1e-4)


def test_pixels_round_trip_exactly() -> None:
    every_value = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    pixels = PixelSpace()
    moments = pixels.encode_moments(every_value)
    latents = sample_latent(moments, torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert latents.min() >= -1.001 and latents.max() <= 1.001
    assert np.array_equal(pixels.decode(latents), every_value)


def test_a_kl_folder_holds_diffusers_two_files_and_nothing_else(tmp_path: Path) -> None:
    from diffusers import AutoencoderKL

    make_autoencoder("kl").save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]
    assert AutoencoderKL.from_pretrained(tmp_path).config.latent_channels == 4


def test_pictures_and_latents_of_another_kind_are_refused(autoencoder: Autoencoder) -> None:
    for wrong in (
        np.zeros((1, 16, 16, 3)),
        np.zeros((16, 16, 3), np.uint8),
        np.zeros((1, 16, 16, 4), np.uint8),
    ):
        with pytest.raises(DataError, match="expected uint8"):
            autoencoder.encode_moments(wrong)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"expected \[B,"):
        autoencoder.decode(torch.zeros(1, 9, 4, 4))
    with pytest.raises(DataError, match="multiples of 4"):
        make_autoencoder("kl").encode_moments(np.zeros((1, 18, 16, 3), np.uint8))


def test_damaged_and_missing_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_autoencoder(tmp_path)
    (tmp_path / "config.json").write_text('{"_class_name": "VQModel"}')
    with pytest.raises(CheckpointError, match="unknown autoencoder 'VQModel'"):
        load_autoencoder(tmp_path)
    make_autoencoder("kl").save(tmp_path)
    weights = tmp_path / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="not a readable AutoencoderKL"):
        load_autoencoder(tmp_path)
    weights.unlink()
    with pytest.raises(CheckpointError, match="safetensors is missing"):
        load_autoencoder(tmp_path)


@pytest.mark.parametrize("kind", ["kl", "taef2"])
def test_a_network_is_opened_on_the_device_that_is_asked_for(kind: str, tmp_path: Path) -> None:
    autoencoder = make_autoencoder(kind)
    assert isinstance(autoencoder, NetworkAutoencoder)
    assert autoencoder.device.type == "cpu"
    autoencoder.save(tmp_path)
    moved = load_autoencoder(tmp_path, "meta")  # torch's stand-in for a device on any machine
    assert isinstance(moved, NetworkAutoencoder)
    assert {weight.device.type for weight in moved.network.parameters()} == {"meta"}


def test_a_batch_larger_than_memory_allows_is_taken_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    images, kl = draw_discs(5), make_autoencoder("kl")
    moments = kl.encode_moments(images)
    pictures = kl.decode(moments[:, :4])
    seen: list[int] = []
    inner = KlAutoencoder.moments
    monkeypatch.setattr(KlAutoencoder, "moments", lambda self, part: seen.append(len(part)) or inner(self, part))
    monkeypatch.setattr("vapray.latents.batch_slices.PIXELS_AT_ONCE", 2 * 16 * 16)
    assert torch.allclose(kl.encode_moments(images), moments, atol=1e-5)
    assert seen == [2, 2, 1]
    assert np.abs(kl.decode(moments[:, :4]).astype(int) - pictures).max() <= 1
    assert kl.decode(moments[:0, :4]).shape == (0, 16, 16, 3)
