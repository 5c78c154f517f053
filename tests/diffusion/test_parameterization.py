"""Laws of predictions, losses and paths: exact conversions, equal marginals, and solvers that do not see the path."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vapray.diffusion.guidance import guide
from vapray.diffusion.noise_levels import NoiseLevels
from vapray.diffusion.noise_schedule import NoiseSchedule
from vapray.diffusion.parameterization import MIN_SIGMA, Parameterization
from vapray.diffusion.solver import solve, solver_plan

SCHEDULES = {
    "scaled_linear": NoiseSchedule.scaled_linear(), "linear": NoiseSchedule.linear(), "flow": NoiseSchedule.flow()
}  # fmt: skip
PAIRS = [pair for pair in itertools.product(SCHEDULES, ("epsilon", "x", "v")) if pair != ("flow", "epsilon")]
STEPS = torch.tensor([1, 10, 500, 990, 999, 1000])
MEAN, STD = 0.7, 0.3


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def column(values: Any, step_B: Tensor, like: Tensor) -> Tensor:
    return torch.from_numpy(values)[step_B].to(like.dtype).view(-1, 1, 1, 1)


@pytest.mark.parametrize(("kind", "prediction"), PAIRS)
def test_the_target_converts_to_the_clean_latent_at_every_step(kind: str, prediction: Any) -> None:
    this = Parameterization(SCHEDULES[kind], prediction)
    clean, noise = drawn(6, 2, 4, 4), drawn(6, 2, 4, 4, seed=1)
    noisy = this.schedule.add_noise(clean, noise, STEPS)
    found = this.clean(this.target(clean, noise, STEPS), noisy, STEPS)
    torch.testing.assert_close(found, clean, rtol=0, atol=2e-5 if prediction == "epsilon" else 1e-6)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_the_velocity_is_the_derivative_along_the_path(kind: str) -> None:
    schedule = SCHEDULES[kind]
    clean, noise = drawn(3, 1, 2, 2, dtype=torch.float64), drawn(3, 1, 2, 2, seed=1, dtype=torch.float64)
    time = np.arcsin(schedule.sigma) if schedule.path == "vp" else schedule.sigma
    middle, width = torch.tensor([100, 500, 900]), 2
    ends = [schedule.add_noise(clean, noise, middle + side) for side in (-width, width)]
    spans = [column(time, middle + side, clean) for side in (-width, width)]
    slope = (ends[1] - ends[0]) / (spans[1] - spans[0])
    torch.testing.assert_close(
        slope, Parameterization(schedule, "v").target(clean, noise, middle), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize(("kind", "prediction"), PAIRS)
@pytest.mark.parametrize("loss", ["epsilon", "x", "v", "min_snr"])
def test_a_loss_weighs_the_error_of_the_clean_latent_alike_for_every_prediction(
    kind: str, prediction: Any, loss: Any
) -> None:
    schedule = SCHEDULES[kind]
    this, step_B = Parameterization(schedule, prediction), torch.tensor([120, 300, 500, 800, 990])
    clean, noise, off = (drawn(5, 2, 4, 4, seed=seed, dtype=torch.float64) for seed in range(3))
    target = this.target(clean, noise, step_B)
    error_B = off.square().flatten(1).mean(1)
    clean_error = this.clean(target + off, schedule.add_noise(clean, noise, step_B), step_B) - clean
    signal, sigma = (column(values, step_B, clean).flatten() for values in (schedule.signal, schedule.sigma))
    assert sigma.min() > MIN_SIGMA
    snr = (signal / sigma) ** 2
    weight = {"epsilon": snr, "x": torch.ones(5), "v": sigma**-2, "min_snr": snr.clamp(max=5)}[loss]
    found = this.loss_factor(loss, step_B).double() * error_B
    torch.testing.assert_close(found, weight * clean_error.square().flatten(1).mean(1), rtol=1e-5, atol=0)


def test_the_weight_of_a_clean_latent_is_bounded_near_the_image() -> None:
    this = Parameterization(SCHEDULES["flow"], "x")
    factors = this.loss_factor("v", torch.tensor([1, 49, 51, 1000]))
    assert factors[0] == factors[1] == pytest.approx(1 / MIN_SIGMA**2) and factors[2] < factors[1]
    assert factors[3] == 1


@pytest.mark.parametrize(("kind", "prediction"), PAIRS)
def test_guidance_and_conversion_commute(kind: str, prediction: Any) -> None:
    this, step_B = Parameterization(SCHEDULES[kind], prediction), torch.tensor([40, 500, 900])
    conditional, unconditional, noisy = (drawn(3, 2, 4, 4, seed=seed, dtype=torch.float64) for seed in range(3))
    excess = torch.tensor([0.0, 1.5, 4.0], dtype=torch.float64)
    first = this.clean(guide(conditional, unconditional, excess), noisy, step_B)
    last = guide(this.clean(conditional, noisy, step_B), this.clean(unconditional, noisy, step_B), excess)
    torch.testing.assert_close(first, last, rtol=1e-9, atol=1e-9)


def test_equal_noise_shares_are_equal_marginals_on_both_paths() -> None:
    vp, flow = SCHEDULES["scaled_linear"], SCHEDULES["flow"]
    clean, noise = drawn(1, 2, 4, 4, dtype=torch.float64), drawn(1, 2, 4, 4, seed=1, dtype=torch.float64)
    for step in (300, 600, 900):
        near = int(np.abs(vp.noise_share - flow.noise_share[step]).argmin())
        scale = vp.signal[near] + vp.sigma[near]
        one, other = (path.add_noise(clean, noise, torch.tensor([at])) for path, at in ((vp, near), (flow, step)))
        torch.testing.assert_close(one / scale, other, rtol=0, atol=5e-3)


def predicted_clean(schedule: NoiseSchedule, noisy: Tensor, step_B: Tensor) -> Tensor:
    """E[x0 | x] of data N(0.7, 0.3^2)."""
    signal, sigma = (column(values, step_B, noisy) for values in (schedule.signal, schedule.sigma))
    return MEAN + STD**2 * signal * (noisy - signal * MEAN) / (STD**2 * signal**2 + sigma**2)


def gaussian_error(kind: str, solver: Any, count: int) -> float:
    """Largest distance from the exact map of noise to data N(0.7, 0.3^2)."""
    schedule, noise = SCHEDULES[kind], drawn(4, 1, 8, 8, dtype=torch.float64)
    found = solve(
        lambda noisy, step_B: predicted_clean(schedule, noisy, step_B),
        noise, solver_plan(schedule, solver, count), Parameterization(schedule, "x"),
    )  # fmt: skip
    signal, sigma = schedule.signal[-1], schedule.sigma[-1]
    exact = MEAN + STD * (noise - signal * MEAN) / np.sqrt(STD**2 * signal**2 + sigma**2)
    return float((found - exact).abs().max())


@pytest.mark.parametrize(("solver", "counts", "order"), [("ddim", (25, 50, 100, 200), 1), ("heun", (5, 10, 20), 2)])
def test_errors_on_the_flow_fall_with_the_order_of_the_solver(solver: Any, counts: Any, order: int) -> None:
    errors = np.array([gaussian_error("flow", solver, count) for count in counts])
    assert np.log2(errors[:-1] / errors[1:]) == pytest.approx(order, abs=0.3)


def test_ten_calls_on_the_flow_come_nearer_than_on_the_papers_schedule() -> None:
    errors = {kind: gaussian_error(kind, "dpm_solver_2m", 10) for kind in SCHEDULES}
    assert errors["flow"] < 0.25 * min(errors["linear"], errors["scaled_linear"])


def textbook(solver: str, count: int, noise: Tensor) -> Tensor:
    """Euler's or Heun's method for dz / dtau = (z - x0) / tau on the flow's grid, as one writes it down."""
    schedule = SCHEDULES["flow"]
    taus = [*solver_plan(schedule, "dpm_solver_2m", count).steps.tolist(), 0]
    z = noise
    for now, then in itertools.pairwise(taus):
        slope = (z - predicted_clean(schedule, z, torch.tensor([now]))) / (now / 1000)
        ahead = z + (then - now) / 1000 * slope
        if solver == "heun" and then:
            last = (ahead - predicted_clean(schedule, ahead, torch.tensor([then]))) / (then / 1000)
            ahead = z + (then - now) / 1000 * (slope + last) / 2
        z = ahead
    return z


def test_heun_is_the_textbooks_and_evaluates_twice_a_step_but_once_in_the_last() -> None:
    schedule, noise = SCHEDULES["flow"], drawn(1, 1, 8, 8, dtype=torch.float64)
    for count in (1, 2, 7):
        plan = solver_plan(schedule, "heun", count)
        assert len(plan) == 2 * count - 1
        predict = lambda noisy, step_B: predicted_clean(schedule, noisy, step_B)  # noqa: E731
        found = solve(predict, noise, plan, Parameterization(schedule, "x"))
        torch.testing.assert_close(found, textbook("heun", count, noise), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["dpm_solver_2m", "ddim", "heun"])
def test_one_predictor_gives_one_result_on_both_paths(name: Any) -> None:
    flow, noise = SCHEDULES["flow"], drawn(2, 1, 4, 4, dtype=torch.float64)
    scale = np.sqrt(flow.signal**2 + flow.sigma**2)
    results = []
    for schedule in (flow, NoiseSchedule("vp", flow.signal / scale, flow.sigma / scale)):
        sums = schedule.signal + schedule.sigma
        predict = lambda noisy, step_B, sums=sums: torch.tanh(noisy / column(sums, step_B, noisy))  # noqa: E731
        results.append(solve(predict, noise, solver_plan(schedule, name, 9), Parameterization(schedule, "x")))
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("mean", "std", "share"), [(0.8, 0.8, 0.0), (-0.4, 1.2, 0.0), (0.8, 0.8, 0.1)])
def test_noise_levels_follow_their_distribution(mean: float, std: float, share: float) -> None:
    schedule, count = SCHEDULES["flow"], 20_000
    uniform = np.random.default_rng(0).random(count)
    steps = NoiseLevels(schedule.noise_share, std, mean, share).steps(uniform)
    assert steps.dtype == np.int64 and steps.min() >= 1 and steps.max() <= 1000
    level = torch.linspace(0.02, 0.98, 97, dtype=torch.float64)
    normal = torch.special.ndtr((torch.logit(level) - mean) / std)
    wanted = share * level + (1 - share) * normal
    found = torch.tensor([(steps <= 1000 * float(one)).mean() for one in level], dtype=torch.float64)
    assert float((found - wanted).abs().max()) < 1.95 / np.sqrt(count)  # Kolmogorov and Smirnov at 0.1 %


def test_noise_levels_mean_the_same_share_on_every_path_and_take_every_uniform_number() -> None:
    ends = np.array([0.0, np.nextafter(0.1, 0), 0.1, 0.5, np.nextafter(1, 0)])
    for schedule in SCHEDULES.values():
        levels = NoiseLevels(schedule.noise_share, 0.8, 0.8, 0.1)
        steps = levels.steps(ends)
        assert steps[0] == 1 and steps[2] <= steps[3] <= steps[4] <= 1000 and steps[1] == 1000
    draws = np.random.default_rng(1).random(4000)
    shares = [np.median(s.noise_share[NoiseLevels(s.noise_share, 0.8, 0.8).steps(draws)]) for s in SCHEDULES.values()]
    assert shares == pytest.approx([shares[-1]] * 3, abs=2e-3)
    assert (NoiseLevels.uniform(10).steps(np.array([0.0, 0.05, 0.1, 0.999])) == [1, 1, 2, 10]).all()


@pytest.mark.parametrize("wrong", [{"logit_std": 0.0}, {"uniform_share": 1.5}])
def test_impossible_levels_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected a positive deviation"):
        NoiseLevels(SCHEDULES["flow"].noise_share, **wrong)


def test_noise_is_not_predicted_where_the_path_ends_without_signal() -> None:
    with pytest.raises(ValueError, match="has no signal"):
        Parameterization(SCHEDULES["flow"], "epsilon")
