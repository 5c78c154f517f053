"""Deterministic solvers of the probability-flow ODE, one linear step at a time.

All take the predicted clean latent x0 of each network call, and step by

    x_next = keep * x + clean * x0 + previous * x0_of_the_call_before

Coefficients are computed in float64. A ``SolverState`` is one latent during sampling; ``advance`` moves any number of
them by one call each, also with different plans or at different steps.

Source: DPM-Solver++ (arXiv 2211.01095), algorithm 2 (2M, midpoint); DDIM (arXiv 2010.02502) with eta 0, which
is DPM-Solver++ of first order, and Euler's method in the coordinates of rectified flow, z = x / (signal + sigma) and
tau = sigma / (signal + sigma). Heun's method in these coordinates, as in EDM (arXiv 2206.00364): with r = tau' / tau,
an Euler step to z_e, then z' = z_e + (1 - r) / (2 r) * (x0 at z_e - x0 at z); the last step is Euler's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vapray.diffusion.host_copies import to_device
from vapray.diffusion.noise_schedule import NoiseSchedule
from vapray.diffusion.parameterization import Parameterization

__all__ = ["SolverName", "SolverPlan", "SolverState", "advance", "solve", "solver_plan"]

SolverName = Literal["dpm_solver_2m", "ddim", "heun"]


@dataclass(frozen=True, eq=False)
class SolverPlan:
    """Diffusion steps at which the network is evaluated, and the coefficients of each solver step."""

    name: SolverName
    """Name of the solver."""
    steps: NDArray[np.int64]
    """Diffusion steps 1..N at which the network is evaluated, [S]; descending, with ``heun`` each inner one twice."""
    coefficients: NDArray[np.float64]
    """``keep``, ``clean`` and ``previous`` of each evaluation, [S, 3]."""

    def __len__(self) -> int:
        """Number of network evaluations."""
        return len(self.steps)


@dataclass(frozen=True, eq=False)
class SolverState:
    """State of one latent between noise and clean."""

    plan: SolverPlan
    """Plan that it follows."""
    taken: int
    """Number of network evaluations done."""
    latent_CHW: Tensor
    """Latent at the plan's next evaluation; after the last one, the clean latent."""
    clean_CHW: Tensor
    """x0 as predicted at the previous evaluation, which the next one needs; zeros at the start."""

    @classmethod
    def start(cls, plan: SolverPlan, noise_CHW: Tensor) -> Self:
        """Create the state of pure noise."""
        return cls(plan, 0, noise_CHW, torch.zeros_like(noise_CHW))

    @property
    def step(self) -> int:
        """Diffusion step of the next network evaluation."""
        return int(self.plan.steps[self.taken])

    @property
    def finished(self) -> bool:
        """True if no evaluation is left."""
        return self.taken == len(self.plan)


def solver_plan(schedule: NoiseSchedule, name: SolverName, num_inference_steps: int) -> SolverPlan:
    """Plan a solver's steps from pure noise to the clean latent.

    ``dpm_solver_2m`` and ``heun`` space their steps as diffusers' ``linspace`` and end with a first-order step;
    ``ddim`` spaces them as ``trailing``. ``heun`` evaluates the network twice a step, but once in the last. The two
    spacings differ by at most one step, and start at step N. ``leading`` starts below N, so
    that the network is given a lower noise level than the actual one, an error that few steps do not correct. Measured
    root mean square error of latents of standard deviation 1, against 400 steps, of a U-ViT trained on dermoscopy with
    guidance 1.0 and ``dpm_solver_2m``:

        steps      8     10    15    20    30
        ours       0.10  0.08  0.06  0.05  0.04
        leading    0.26  0.22  0.18  0.12  0.11

    Raises:
        ValueError: an unknown name, or a number of steps outside 1..N-1.
    """
    if name not in get_args(SolverName):
        raise ValueError(f"solver: expected one of {get_args(SolverName)}, got {name!r}")
    if not 1 <= num_inference_steps < schedule.steps:
        raise ValueError(f"inference steps: expected 1..{schedule.steps - 1}, got {num_inference_steps}")
    if name == "ddim":
        steps = np.round(np.arange(num_inference_steps, 0, -1) * (schedule.steps / num_inference_steps))
    else:
        steps = 1 + np.linspace(0, schedule.steps - 1, num_inference_steps + 1).round()[:0:-1]
    steps = steps.astype(np.int64)
    if name == "heun":
        return SolverPlan(name, np.repeat(steps, 2)[1:], _heun(schedule, steps))
    return SolverPlan(name, steps, _multistep(schedule, steps, second_order=name == "dpm_solver_2m"))


def _multistep(schedule: NoiseSchedule, steps: NDArray[np.int64], *, second_order: bool) -> NDArray[np.float64]:
    """Compute the coefficients [S, 3] of DPM-Solver++."""
    path = np.append(steps, 0)
    signal, sigma = schedule.signal[path], schedule.sigma[path]
    with np.errstate(divide="ignore"):
        log_snr = np.log(signal) - np.log(sigma)
    stride = np.diff(log_snr)
    keep = sigma[1:] / sigma[:-1]
    clean = -signal[1:] * np.expm1(-stride)
    previous = np.zeros_like(clean)
    if second_order:
        # The first step has no previous step, and the last has an infinite stride, so both are first-order.
        inner = slice(1, -1)
        previous[inner] = -0.5 * clean[inner] * stride[1:-1] / stride[:-2]
    return np.stack([keep, clean - previous, previous], axis=1)


def _heun(schedule: NoiseSchedule, steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute the coefficients [2 S - 1, 3] of Heun's method: Euler's step and its correction in turn."""
    path = np.append(steps, 0)
    euler, share = _multistep(schedule, steps, second_order=False), schedule.noise_share[path]
    ratio, scale = share[1:-1] / share[:-2], (schedule.signal + schedule.sigma)[path[1:-1]]
    change = scale * (1 - ratio) / (2 * ratio)
    correction = np.stack([np.ones_like(change), change, -change], axis=1)
    return np.concatenate([np.stack([euler[:-1], correction], axis=1).reshape(-1, 3), euler[-1:]])


def advance(
    states: Sequence[SolverState], output_BCHW: Tensor, parameterization: Parameterization
) -> list[SolverState]:
    """Take one step with each latent.

    A state's result does not depend on its neighbours.

    Args:
        states: unfinished states, at least one, of one latent shape.
        output_BCHW: the network's output for each state at its ``step``.
        parameterization: meaning of the output.

    Returns:
        The next states.
    """
    noisy_BCHW = torch.stack([state.latent_CHW for state in states])
    step_B = to_device([state.step for state in states], torch.int64, noisy_BCHW.device)
    clean_BCHW = parameterization.clean(output_BCHW, noisy_BCHW, step_B)
    previous_clean_BCHW = torch.stack([state.clean_CHW for state in states])
    coefficients_B3 = np.stack([state.plan.coefficients[state.taken] for state in states])
    coefficients_3B = to_device(coefficients_B3.T, noisy_BCHW.dtype, noisy_BCHW.device)
    keep, clean, previous = coefficients_3B[:, :, None, None, None]
    next_BCHW = keep * noisy_BCHW + clean * clean_BCHW + previous * previous_clean_BCHW
    return [
        SolverState(state.plan, state.taken + 1, latent_CHW, clean_CHW)
        for state, latent_CHW, clean_CHW in zip(states, next_BCHW, clean_BCHW, strict=True)
    ]


def solve(
    predict: Callable[[Tensor, Tensor], Tensor], noise: Tensor, plan: SolverPlan, parameterization: Parameterization
) -> Tensor:
    """Solve from noise [B, C, H, W] to clean latents, all rows at the same step.

    Args:
        predict: function from latents and int64 steps [B] to a network's output.
        noise: standard normal noise [B, C, H, W].
        plan: solver plan.
        parameterization: meaning of the output.

    Returns:
        Clean latents [B, C, H, W].
    """
    states = [SolverState.start(plan, row) for row in noise]
    for step in plan.steps:
        step_B = torch.full((len(noise),), int(step), dtype=torch.int64, device=noise.device)
        noisy_BCHW = torch.stack([state.latent_CHW for state in states])
        states = advance(states, predict(noisy_BCHW, step_B), parameterization)
    return torch.stack([state.latent_CHW for state in states])
