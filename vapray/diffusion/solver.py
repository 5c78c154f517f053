"""Deterministic solvers of the probability-flow ODE, one linear step at a time.

Both predict the clean latent, x0 = (x - sigma eps) / signal, and step by

    x_next = keep * x + clean * x0 + previous * x0_of_the_step_before

Coefficients are worked out in float64; ``solver_step`` takes them row by row, so a batch may hold rows that
follow different plans or stand at different steps.

Source: DPM-Solver++ (arXiv 2211.01095), algorithm 2 (2M, midpoint); DDIM (arXiv 2010.02502) with eta 0, which
is DPM-Solver++ of first order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vapray.diffusion.schedule import Schedule

__all__ = ["SolverName", "SolverPlan", "SolverStep", "solve", "solver_plan", "solver_step"]

SolverName = Literal["dpm_solver_2m", "ddim"]


@dataclass(frozen=True, eq=False)
class SolverPlan:
    """Where the network is asked, and what is done with its answers."""

    name: SolverName
    """The solver."""
    steps: NDArray[np.int64]
    """[S], diffusion steps 1..N at which the network is called, falling."""
    coefficients: NDArray[np.float64]
    """[S, 5]: signal and sigma of the step, then ``keep``, ``clean`` and ``previous``."""

    def __len__(self) -> int:
        """Network calls."""
        return len(self.steps)


@dataclass(frozen=True)
class SolverStep:
    """Where a step leads."""

    next_BCHW: Tensor
    """The latent at the plan's next step; the clean latent after the last."""
    clean_BCHW: Tensor
    """x0 as predicted at this step, which the next step needs."""


def solver_plan(schedule: Schedule, name: SolverName, num_inference_steps: int) -> SolverPlan:
    """Plan a solver's steps from pure noise to the clean latent.

    ``dpm_solver_2m`` spaces its steps as diffusers' ``linspace`` and closes with a first-order step; ``ddim``
    spaces them as ``trailing``. Both start at step N.

    Raises:
        ValueError: an unknown name, or a number of steps outside 1..N-1.
    """
    if name not in get_args(SolverName):
        raise ValueError(f"solver: wanted one of {get_args(SolverName)}, got {name!r}")
    if not 1 <= num_inference_steps < schedule.steps:
        raise ValueError(f"inference steps: wanted 1..{schedule.steps - 1}, got {num_inference_steps}")
    if name == "ddim":
        steps = np.round(np.arange(num_inference_steps, 0, -1) * (schedule.steps / num_inference_steps))
    else:
        steps = 1 + np.linspace(0, schedule.steps - 1, num_inference_steps + 1).round()[:0:-1]
    steps = steps.astype(np.int64)
    return SolverPlan(name, steps, _coefficients(schedule, steps, second_order=name == "dpm_solver_2m"))


def _coefficients(schedule: Schedule, steps: NDArray[np.int64], *, second_order: bool) -> NDArray[np.float64]:
    """[S, 5], see ``SolverPlan``."""
    path = np.append(steps, 0)
    signal, sigma = schedule.signal[path], schedule.sigma[path]
    with np.errstate(divide="ignore"):
        log_snr = np.log(signal) - np.log(sigma)
    stride = np.diff(log_snr)
    keep = sigma[1:] / sigma[:-1]
    clean = -signal[1:] * np.expm1(-stride)
    previous = np.zeros_like(clean)
    if second_order:
        # Neither the first step, which has no step before it, nor the last, whose stride is infinite.
        inner = slice(1, -1)
        previous[inner] = -0.5 * clean[inner] * stride[1:-1] / stride[:-2]
    return np.stack([signal[:-1], sigma[:-1], keep, clean - previous, previous], axis=1)


def solver_step(
    noisy_BCHW: Tensor, noise_BCHW: Tensor, previous_clean_BCHW: Tensor, coefficients_B5: Tensor
) -> SolverStep:
    """Take one step, each row by its own coefficients.

    Args:
        noisy_BCHW: latents at the rows' steps.
        noise_BCHW: the noise predicted there.
        previous_clean_BCHW: the last step's ``clean_BCHW``; anything finite at a row's first step.
        coefficients_B5: rows of ``SolverPlan.coefficients``, [B, 5] or [1, 5].
    """
    factors = coefficients_B5.to(noisy_BCHW.device, noisy_BCHW.dtype).T[:, :, None, None, None]
    signal, sigma, keep, clean, previous = factors
    clean_BCHW = (noisy_BCHW - sigma * noise_BCHW) / signal
    return SolverStep(keep * noisy_BCHW + clean * clean_BCHW + previous * previous_clean_BCHW, clean_BCHW)


def solve(predict_noise: Callable[[Tensor, Tensor], Tensor], noise: Tensor, plan: SolverPlan) -> Tensor:
    """Follow a plan from noise [B, C, H, W] to clean latents.

    Args:
        predict_noise: maps latents and int64 steps [B] to noise.
        noise: standard normal.
        plan: the steps.
    """
    latent, clean = noise, torch.zeros_like(noise)
    for step, coefficients in zip(plan.steps, torch.from_numpy(plan.coefficients), strict=True):
        step_B = torch.full((len(noise),), int(step), dtype=torch.int64, device=noise.device)
        taken = solver_step(latent, predict_noise(latent, step_B), clean, coefficients[None])
        latent, clean = taken.next_BCHW, taken.clean_BCHW
    return latent
