"""Laws of the noise schedule."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from vapray.diffusion.noise_schedule import NoiseSchedule


@pytest.mark.parametrize(
    ("schedule", "kind", "first", "last"),
    [
        (NoiseSchedule.scaled_linear(), "scaled_linear", 0.00085, 0.012),
        (NoiseSchedule.linear(), "linear", 1e-4, 0.02),
    ],
)
def test_schedules_are_those_of_diffusers_one_step_later(
    schedule: NoiseSchedule, kind: str, first: float, last: float
) -> None:
    theirs: Any = DDPMScheduler(beta_schedule=kind, beta_start=first, beta_end=last)
    np.testing.assert_allclose(schedule.signal[1:] ** 2, theirs.alphas_cumprod.numpy(), rtol=1e-4)
    assert schedule.signal[0] == 1 and schedule.steps == 1000 and schedule.signal.dtype == np.float64


def test_step_zero_is_clean_and_variance_is_preserved_at_every_step() -> None:
    schedule = NoiseSchedule.scaled_linear()
    torch.manual_seed(0)
    clean, noise = torch.randn(5, 4, 64, 64), torch.randn(5, 4, 64, 64)
    noisy = schedule.add_noise(clean, noise, torch.tensor([0, 1, 300, 700, 1000]))
    assert torch.equal(noisy[0], clean[0])
    assert torch.allclose(noisy.var(dim=(1, 2, 3)), torch.ones(5), atol=0.05)
    share = torch.tensor(
        [torch.corrcoef(torch.stack([a, b]).flatten(1))[0, 1] ** 2 for a, b in zip(noisy, clean, strict=True)]
    )
    assert torch.allclose(share.double(), torch.from_numpy(schedule.signal[[0, 1, 300, 700, 1000]] ** 2), atol=0.03)


@pytest.mark.parametrize("betas", [[], [[0.1]], [1.0], [0.1, -0.1], [float("nan")]])
def test_what_is_no_schedule_is_refused(betas: list[float]) -> None:
    with pytest.raises(ValueError, match="expected N values in"):
        NoiseSchedule.from_betas(np.array(betas))


@pytest.mark.parametrize(
    ("path", "signal", "sigma"),
    [
        ("vp", [1.0, 0.5], [0.0, 0.5]),
        ("flow", [1.0, 0.6], [0.0, 0.8]),
        ("flow", [1.0, 1.0], [0.0, 0.0]),
        ("flow", [1.0], [0.0]),
    ],
)
def test_coefficients_of_another_path_are_refused(path: Any, signal: list[float], sigma: list[float]) -> None:
    with pytest.raises(ValueError, match="expected signal from 1"):
        NoiseSchedule(path, np.array(signal), np.array(sigma))


def test_the_flow_is_a_straight_line_from_the_image_to_pure_noise() -> None:
    clean, noise = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4)
    noisy = NoiseSchedule.flow(10).add_noise(clean, noise, torch.tensor([0, 5, 10]))
    assert torch.equal(noisy[0], clean[0]) and torch.equal(noisy[2], noise[2])
    torch.testing.assert_close(noisy[1], (clean[1] + noise[1]) / 2)
