"""Laws of the solvers: diffusers' results, and the exact answer for Gaussian data."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from torch import Tensor

from vapray.diffusion.noise_schedule import NoiseSchedule
from vapray.diffusion.parameterization import Parameterization
from vapray.diffusion.solver import SolverName, SolverState, advance, solve, solver_plan

BETAS = {"scaled_linear": (0.00085, 0.012), "linear": (1e-4, 0.02)}
SCHEDULES = {"scaled_linear": NoiseSchedule.scaled_linear(), "linear": NoiseSchedule.linear()}
NOISE = {kind: Parameterization(schedule) for kind, schedule in SCHEDULES.items()}


def toy_noise(latent: Tensor, step_B: Tensor) -> Tensor:
    time = step_B.to(latent.dtype).view(-1, 1, 1, 1) / 1000
    return torch.tanh(latent * (0.5 + time)) + 0.3 * torch.sin(2 * latent - time)


def start(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=dtype)


def diffusers_result(scheduler: Any, count: int, noise: Tensor) -> Tensor:
    scheduler.set_timesteps(count)
    latent = noise
    for timestep in scheduler.timesteps:
        # Their timestep 0 is the first noisy step, ours 1.
        step_B = torch.full((len(noise),), int(timestep) + 1)
        latent = scheduler.step(toy_noise(latent, step_B), timestep, latent).prev_sample
    return latent


@pytest.mark.parametrize("kind", BETAS)
@pytest.mark.parametrize("count", [1, 2, 3, 7, 14, 15, 20, 50, 333])
def test_dpm_solver_agrees_with_diffusers(kind: str, count: int) -> None:
    theirs: Any = DPMSolverMultistepScheduler(
        beta_schedule=kind,
        beta_start=BETAS[kind][0],
        beta_end=BETAS[kind][1],
        algorithm_type="dpmsolver++",
        solver_order=2,
        lower_order_final=True,
    )
    plan = solver_plan(SCHEDULES[kind], "dpm_solver_2m", count)
    expected = diffusers_result(theirs, count, start())
    assert plan.steps.tolist() == [int(timestep) + 1 for timestep in theirs.timesteps]
    torch.testing.assert_close(solve(toy_noise, start(), plan, NOISE[kind]), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", BETAS)
@pytest.mark.parametrize("count", [1, 2, 5, 20, 50, 250])
def test_ddim_agrees_with_diffusers(kind: str, count: int) -> None:
    theirs: Any = DDIMScheduler(
        beta_schedule=kind,
        beta_start=BETAS[kind][0],
        beta_end=BETAS[kind][1],
        clip_sample=False,
        timestep_spacing="trailing",
    )
    plan = solver_plan(SCHEDULES[kind], "ddim", count)
    expected = diffusers_result(theirs, count, start())
    assert plan.steps.tolist() == [int(timestep) + 1 for timestep in theirs.timesteps]
    torch.testing.assert_close(solve(toy_noise, start(), plan, NOISE[kind]), expected, rtol=1e-4, atol=1e-4)


def gaussian_error(name: SolverName, count: int, mean: float = 0.7, std: float = 0.5) -> float:
    """Distance from the exact flow of N(mean, std^2) at the last step that all counts here share."""
    # diffusers' two spacings meet round numbers for different N.
    schedule = NoiseSchedule.scaled_linear(steps=1001 if name == "dpm_solver_2m" else 1000)
    plan = solver_plan(schedule, name, count)
    signal, sigma = (torch.from_numpy(x) for x in (schedule.signal, schedule.sigma))
    spread = (std**2 * signal**2 + sigma**2).sqrt()
    states = [SolverState.start(plan, row) for row in start(torch.float64)]
    standard = (start(torch.float64) - signal[plan.steps[0]] * mean) / spread[plan.steps[0]]
    for step in plan.steps:
        latent = torch.stack([state.latent_CHW for state in states])
        if step in (200, 201):
            return float((latent - (signal[step] * mean + spread[step] * standard)).abs().max())
        noise = sigma[step] * (latent - signal[step] * mean) / spread[step] ** 2
        states = advance(states, noise, Parameterization(schedule))
    raise AssertionError(f"{count} steps do not meet step 200 or 201")


@pytest.mark.parametrize(("name", "order"), [("dpm_solver_2m", 2), ("ddim", 1)])
def test_error_on_a_gaussian_falls_with_the_stated_order(name: SolverName, order: int) -> None:
    errors = np.array([gaussian_error(name, count) for count in (25, 50, 100, 200)])
    assert errors[-1] < 0.01
    assert np.log2(errors[:-1] / errors[1:]) == pytest.approx(order, abs=0.3)


def exact_noise(latent: Tensor, step_B: Tensor) -> Tensor:
    """Of data N(0.7, 0.5^2)."""
    schedule = SCHEDULES["scaled_linear"]
    signal, sigma = (
        torch.from_numpy(x)[step_B].to(latent.dtype).view(-1, 1, 1, 1) for x in (schedule.signal, schedule.sigma)
    )
    return sigma * (latent - signal * 0.7) / (0.25 * signal**2 + sigma**2)


def test_few_steps_come_near_the_exact_answer_and_second_order_nearer() -> None:
    schedule, noise = SCHEDULES["scaled_linear"], start(torch.float64)
    exact = 0.7 + 0.5 * (noise - schedule.signal[-1] * 0.7) / np.sqrt(
        0.25 * schedule.signal[-1] ** 2 + schedule.sigma[-1] ** 2
    )
    for count in (8, 12, 20):
        errors = {
            name: (solve(exact_noise, noise, solver_plan(schedule, name, count), NOISE["scaled_linear"]) - exact)
            .abs()
            .max()
            .item()
            for name in ("dpm_solver_2m", "ddim")
        }
        assert errors["dpm_solver_2m"] < errors["ddim"] < 5 / count


def test_samples_of_a_gaussian_have_its_mean_and_spread() -> None:
    schedule = SCHEDULES["scaled_linear"]
    noise = torch.randn(64, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    for name in ("dpm_solver_2m", "ddim"):
        # The last jump asks the network once and narrows what it lands on: at 50 steps the spread is 0.47.
        clean = solve(exact_noise, noise, solver_plan(schedule, name, 250), NOISE["scaled_linear"])
        assert clean.mean().item() == pytest.approx(0.7, abs=0.03)
        assert clean.std().item() == pytest.approx(0.5, abs=0.02)


def test_rows_with_different_plans_may_share_a_step() -> None:
    schedule, noise = SCHEDULES["scaled_linear"], start()
    plans = [solver_plan(schedule, "dpm_solver_2m", 3), solver_plan(schedule, "ddim", 5)]
    alone = [solve(toy_noise, noise[[row]], plan, NOISE["scaled_linear"]) for row, plan in enumerate(plans)]
    states = [SolverState.start(plan, row) for plan, row in zip(plans, noise[:2], strict=True)]
    while going := [state for state in states if not state.finished]:
        step_B = torch.tensor([state.step for state in going])
        noisy = torch.stack([state.latent_CHW for state in going])
        moved = iter(advance(going, toy_noise(noisy, step_B), NOISE["scaled_linear"]))
        states = [state if state.finished else next(moved) for state in states]
    for expected, state in zip(alone, states, strict=True):
        assert torch.equal(expected[0], state.latent_CHW)


def test_every_possible_count_gives_a_falling_finite_plan_from_step_n() -> None:
    schedule = NoiseSchedule.scaled_linear(steps=60)
    for name in ("dpm_solver_2m", "ddim"):
        for count in range(1, 60):
            plan = solver_plan(schedule, name, count)
            assert len(plan) == count and plan.steps[0] == 60 and plan.steps[-1] >= 1
            assert (np.diff(plan.steps) < 0).all() and np.isfinite(plan.coefficients).all()


@pytest.mark.parametrize(("name", "count"), [("euler", 10), ("ddim", 0), ("dpm_solver_2m", 1000)])
def test_impossible_plans_are_refused(name: SolverName, count: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        solver_plan(SCHEDULES["linear"], name, count)
