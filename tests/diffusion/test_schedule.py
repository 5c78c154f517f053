"""Laws of the noise schedule."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from vapray.diffusion.schedule import Schedule


@pytest.mark.parametrize(
    ("schedule", "kind", "first", "last"),
    [
        (Schedule.scaled_linear(), "scaled_linear", 0.00085, 0.012),
        (Schedule.linear(), "linear", 1e-4, 0.02),
    ],
)
def test_schedules_are_those_of_diffusers_one_step_later(
    schedule: Schedule, kind: str, first: float, last: float
) -> None:
    theirs: Any = DDPMScheduler(beta_schedule=kind, beta_start=first, beta_end=last)
    np.testing.assert_allclose(schedule.betas[1:], theirs.betas.numpy(), rtol=1e-5)
    np.testing.assert_allclose(schedule.alpha_bar[1:], theirs.alphas_cumprod.numpy(), rtol=1e-4)
    assert schedule.alpha_bar[0] == 1 and schedule.steps == 1000 and schedule.alpha_bar.dtype == np.float64


def test_step_zero_is_clean_and_variance_is_preserved_at_every_step() -> None:
    schedule = Schedule.scaled_linear()
    torch.manual_seed(0)
    clean, noise = torch.randn(5, 4, 64, 64), torch.randn(5, 4, 64, 64)
    noisy = schedule.add_noise(clean, noise, torch.tensor([0, 1, 300, 700, 1000]))
    assert torch.equal(noisy[0], clean[0])
    assert torch.allclose(noisy.var(dim=(1, 2, 3)), torch.ones(5), atol=0.05)
    share = torch.tensor(
        [torch.corrcoef(torch.stack([a, b]).flatten(1))[0, 1] ** 2 for a, b in zip(noisy, clean, strict=True)]
    )
    assert torch.allclose(share.double(), torch.from_numpy(schedule.alpha_bar[[0, 1, 300, 700, 1000]]), atol=0.03)


@pytest.mark.parametrize("betas", [[0.0], [0.1, 0.1], [0.0, 1.0], [0.0, 0.1, -0.1], [0.0, float("nan")]])
def test_what_is_no_schedule_is_refused(betas: list[float]) -> None:
    with pytest.raises(ValueError, match="expected 0 followed by"):
        Schedule(np.array(betas))
