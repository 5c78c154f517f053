"""Laws of the autoencoder's fit."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from vapray.errors import ConfigError, DataError
from vapray.latents.fit import FitReport, Recipe, fit_autoencoder
from vapray.latents.kl_autoencoder import KlAutoencoder
from vapray.latents.reconstruction import psnr_db

from .discs import draw_discs

TINY = Recipe(width=8, batch_size=8, steps=1)


@pytest.fixture(scope="module")
def fitted() -> tuple[KlAutoencoder, FitReport]:
    return fit_autoencoder(draw_discs(128), replace(TINY, steps=120, learning_rate=2e-3), threads=1)


def test_a_short_fit_beats_the_mean_image_by_far(fitted: tuple[KlAutoencoder, FitReport]) -> None:
    autoencoder, report = fitted
    unseen = draw_discs(32, seed=1)
    rebuilt = autoencoder.decode(autoencoder.encode_moments(unseen)[:, : autoencoder.channels])
    mean_image = np.broadcast_to(draw_discs(128).mean(0), unseen.shape).astype(np.uint8)
    assert psnr_db(rebuilt, unseen) > psnr_db(mean_image, unseen) + 6
    assert abs(report.psnr_heldout - psnr_db(rebuilt, unseen)) < 3


def test_the_loss_falls_and_the_report_counts_steps(fitted: tuple[KlAutoencoder, FitReport]) -> None:
    report = fitted[1]
    assert report.steps == report.loss_curve[-1][0] == 120
    losses = [loss for _, loss in report.loss_curve]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])


def test_same_seed_same_weights_whatever_the_process_drew_before() -> None:
    def weights(seed: int) -> list[torch.Tensor]:
        torch.rand(seed + 1)
        autoencoder, _ = fit_autoencoder(draw_discs(16), replace(TINY, steps=3, seed=seed), threads=1)
        return list(autoencoder.network.state_dict().values())

    first, again, other = weights(0), weights(0), weights(1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_the_process_keeps_its_random_state_and_threads() -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    fit_autoencoder(draw_discs(16), TINY, threads=threads + 1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_on_step_hears_of_every_step() -> None:
    heard: list[tuple[int, float]] = []
    fit_autoencoder(draw_discs(16), replace(TINY, steps=4), on_step=lambda step, loss: heard.append((step, loss)))
    assert [step for step, _ in heard] == [1, 2, 3, 4]
    assert all(np.isfinite(loss) for _, loss in heard)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"factor": 3}, "power of two"),
        ({"factor": 32}, "divides both sides"),
        ({"width": 12}, "multiple of 8"),
        ({"steps": 0}, "0 steps"),
    ],
)
def test_settings_that_cannot_work_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fit_autoencoder(draw_discs(16), replace(TINY, **changed))


def test_pictures_of_another_kind_are_refused() -> None:
    for wrong in (draw_discs(1), draw_discs(16).astype(np.float32), draw_discs(16)[..., 0]):
        with pytest.raises(DataError, match="expected two or more"):
            fit_autoencoder(wrong, TINY)  # type: ignore[arg-type]


def test_a_diverged_fit_says_so() -> None:
    with pytest.raises(ConfigError, match="lower learning_rate"):
        fit_autoencoder(draw_discs(16), replace(TINY, steps=30, learning_rate=1e30))
