"""Deterministic solvers of the probability-flow ODE, one linear step at a time.

Both predict the clean latent, x0 = (x - sigma eps) / signal, and step by

    x_next = keep * x + clean * x0 + previous * x0_of_the_step_before

Coefficients are computed in float64. A ``SolverState`` is one latent during sampling; ``advance`` moves any number of
them by one step each, also with different plans or at different steps.

Source: DPM-Solver++ (arXiv 2211.01095), algorithm 2 (2M, midpoint); DDIM (arXiv 2010.02502) with eta 0, which
is DPM-Solver++ of first order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vapray.diffusion.schedule import Schedule

__all__ = ["SolverName", "SolverPlan", "SolverState", "advance", "solve", "solver_plan"]

SolverName = Literal["dpm_solver_2m", "ddim"]


@dataclass(frozen=True, eq=False)
class SolverPlan:
    """Diffusion steps at which the network is evaluated, and the coefficients of each solver step."""

    name: SolverName
    """Name of the solver."""
    steps: NDArray[np.int64]
    """Diffusion steps 1..N at which the network is evaluated, descending, [S]."""
    coefficients: NDArray[np.float64]
    """Signal and sigma of the step, then ``keep``, ``clean`` and ``previous``, [S, 5]."""

    def __len__(self) -> int:
        """Number of network evaluations."""
        return len(self.steps)


@dataclass(frozen=True, eq=False)
class SolverState:
    """State of one latent between noise and clean."""

    plan: SolverPlan
    """Plan that it follows."""
    taken: int
    """Number of steps taken."""
    latent_CHW: Tensor
    """Latent at the plan's next step; after the last step, the clean latent."""
    clean_CHW: Tensor
    """x0 as predicted at the previous step, which the next step needs; zeros at the start."""

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


def solver_plan(schedule: Schedule, name: SolverName, num_inference_steps: int) -> SolverPlan:
    """Plan a solver's steps from pure noise to the clean latent.

    ``dpm_solver_2m`` spaces its steps as diffusers' ``linspace`` and ends with a first-order step; ``ddim`` spaces them
    as ``trailing``. The two spacings differ by at most one step, and start at step N. ``leading`` starts below N, so
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
    return SolverPlan(name, steps, _coefficients(schedule, steps, second_order=name == "dpm_solver_2m"))


def _coefficients(schedule: Schedule, steps: NDArray[np.int64], *, second_order: bool) -> NDArray[np.float64]:
    """Compute the coefficients [S, 5], see ``SolverPlan``."""
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
    return np.stack([signal[:-1], sigma[:-1], keep, clean - previous, previous], axis=1)


def advance(states: Sequence[SolverState], noise_BCHW: Tensor) -> list[SolverState]:
    """Take one step with each latent.

    A state's result does not depend on its neighbours.

    Args:
        states: unfinished states, at least one, of one latent shape.
        noise_BCHW: noise predicted for each state at its ``step``.

    Returns:
        The next states.
    """
    noisy_BCHW = torch.stack([state.latent_CHW for state in states])
    previous_clean_BCHW = torch.stack([state.clean_CHW for state in states])
    coefficients_B5 = torch.from_numpy(np.stack([state.plan.coefficients[state.taken] for state in states]))
    factors = coefficients_B5.to(noisy_BCHW.device, noisy_BCHW.dtype).T[:, :, None, None, None]
    signal, sigma, keep, clean, previous = factors
    clean_BCHW = (noisy_BCHW - sigma * noise_BCHW) / signal
    next_BCHW = keep * noisy_BCHW + clean * clean_BCHW + previous * previous_clean_BCHW
    return [
        SolverState(state.plan, state.taken + 1, latent_CHW, clean_CHW)
        for state, latent_CHW, clean_CHW in zip(states, next_BCHW, clean_BCHW, strict=True)
    ]


def solve(predict_noise: Callable[[Tensor, Tensor], Tensor], noise: Tensor, plan: SolverPlan) -> Tensor:
    """Solve from noise [B, C, H, W] to clean latents, all rows at the same step.

    Args:
        predict_noise: function from latents and int64 steps [B] to noise.
        noise: standard normal noise [B, C, H, W].
        plan: solver plan.

    Returns:
        Clean latents [B, C, H, W].
    """
    states = [SolverState.start(plan, row) for row in noise]
    for step in plan.steps:
        step_B = torch.full((len(noise),), int(step), dtype=torch.int64, device=noise.device)
        states = advance(states, predict_noise(torch.stack([state.latent_CHW for state in states]), step_B))
    return torch.stack([state.latent_CHW for state in states])
