"""Laws of principal components of patches."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vapray.config.loader import load_config
from vapray.errors import CheckpointError, ConfigError, DataError
from vapray.latents.file_names import WEIGHTS_FILE
from vapray.latents.fit import split_heldout
from vapray.latents.latent_space import flip_pair
from vapray.latents.patch_pca import PatchPca, fit_patch_pca
from vapray.latents.reconstruction import psnr_db, rebuild_pictures

from .discs import draw_discs


def textured(count: int = 40, side: int = 16) -> NDArray[np.uint8]:
    """Discs with noise, so that every component of a patch has variance."""
    noise = np.random.default_rng(1).normal(0, 12, (count, side, side, 3))
    return (draw_discs(count, side) + noise).round().clip(0, 255).astype(np.uint8)


def latents(autoencoder: PatchPca, images: NDArray[np.uint8]) -> torch.Tensor:
    return autoencoder.encode_moments(images)[:, : autoencoder.channels]


@pytest.mark.parametrize("whitening", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("factor", [2, 4])
def test_all_components_rebuild_every_pixel(whitening: float, factor: int) -> None:
    images = textured()
    autoencoder = fit_patch_pca(images, channels=3 * factor**2, factor=factor, whitening=whitening)
    unseen = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    assert np.array_equal(rebuild_pictures(autoencoder, unseen), unseen)


def test_fewer_components_lose_what_the_best_linear_code_loses() -> None:
    """By the Eckart-Young theorem, with the singular values of the patches and their mirror images."""
    images, channels = textured(), 10
    autoencoder = fit_patch_pca(images, channels=channels, factor=4, whitening=0.5)
    both = np.concatenate(list(flip_pair(images))) / 127.5 - 1
    patches = both.reshape(-1, 4, 4, 4, 4, 3).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 48)
    centred = (patches.reshape(-1, 16, 3) - patches.reshape(-1, 16, 3).mean((0, 1))).reshape(-1, 48)
    singular = np.linalg.svd(centred, compute_uv=False)
    lost = (singular[channels:] ** 2).sum() / centred.size
    rebuilt = autoencoder.rebuild(latents(autoencoder, images))
    found = (rebuilt - torch.from_numpy(images / 127.5 - 1).permute(0, 3, 1, 2)).square().mean()
    assert float(found) == pytest.approx(lost, rel=1e-3)


def test_whitening_decides_the_variance_of_components_whose_mean_is_one() -> None:
    images = textured()
    variance = {}
    for whitening in (0.0, 0.5, 1.0):
        found = latents(fit_patch_pca(images, channels=48, factor=4, whitening=whitening), images)
        variance[whitening] = found.var((0, 2, 3), correction=0)
        assert float(variance[whitening].mean()) == pytest.approx(1, rel=1e-2)
    assert torch.allclose(variance[1.0], torch.ones(48), rtol=0.05)
    ratio = variance[0.5] / variance[0.0].sqrt()
    assert torch.allclose(ratio, ratio.mean().expand(48), rtol=0.05)


def test_without_whitening_distances_are_those_of_pixels() -> None:
    images = textured(6)
    found = latents(fit_patch_pca(images, channels=48, factor=4, whitening=0.0), images).flatten(1)
    pixels = torch.from_numpy(images / 127.5 - 1).float().flatten(1)
    ratio = torch.pdist(found) / torch.pdist(pixels)
    assert torch.allclose(ratio, ratio.mean().expand_as(ratio), rtol=1e-4)


def test_a_mirror_image_has_the_same_latents_up_to_place_and_sign() -> None:
    images = textured()
    autoencoder = fit_patch_pca(images, channels=20, factor=4, whitening=0.5)
    plain, mirrored = (latents(autoencoder, view) for view in flip_pair(images))
    returned = mirrored.flip(3)
    sign = (plain * returned).sum((0, 2, 3), keepdim=True).sign()
    assert torch.allclose(returned * sign, plain, atol=1e-4)


def test_grey_images_whose_patches_have_a_third_of_the_components_stay_grey_and_finite() -> None:
    grey = np.repeat(textured()[..., :1], 3, axis=3)
    autoencoder = fit_patch_pca(grey, channels=48, factor=4, whitening=1.0)
    found = latents(autoencoder, grey)
    assert found.isfinite().all()
    assert float(found[:, 16:].abs().max()) < 1
    assert np.array_equal(rebuild_pictures(autoencoder, grey), grey)


def test_one_flat_image_can_be_fitted() -> None:
    flat = np.full((1, 8, 8, 3), 77, dtype=np.uint8)
    assert np.array_equal(rebuild_pictures(fit_patch_pca(flat, channels=4, factor=4, whitening=0.5), flat), flat)


def test_components_of_some_images_rebuild_others() -> None:
    autoencoder = fit_patch_pca(draw_discs(60, side=32), channels=24, factor=4, whitening=0.5)
    unseen = draw_discs(20, side=32, seed=9)
    assert psnr_db(rebuild_pictures(autoencoder, unseen), unseen) > 40


def test_no_image_is_refused() -> None:
    with pytest.raises(DataError, match="no image to fit"):
        fit_patch_pca(np.zeros((0, 8, 8, 3), dtype=np.uint8), channels=4, factor=4, whitening=0.5)


def test_one_image_leaves_none_to_hold_out() -> None:
    with pytest.raises(DataError, match="1 training image; expected two or more"):
        split_heldout(textured(1), torch.Generator())


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    fit_patch_pca(textured(4), channels=4, factor=4, whitening=0.5).save(tmp_path)
    (tmp_path / WEIGHTS_FILE).write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="principal components"):
        PatchPca.load(tmp_path)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (["autoencoder.channels=49", "autoencoder.factor=4"], "has 48 values"),
        (["autoencoder.channels=8", "autoencoder.tune_decoder_steps=5"], "the best linear decoder already"),
    ],
)
def test_contradictions_are_refused(settings: list[str], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        load_config(None, ["autoencoder.kind=pca", *settings])
