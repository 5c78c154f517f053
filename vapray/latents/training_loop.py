"""Training loop of small networks; batches and learning-rate schedule of autoencoder fitting and decoder tuning."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vapray.errors import ConfigError
from vapray.latents.image_tensors import to_model_range

__all__ = ["Curve", "OnStep", "batches", "fit", "run_training_loop", "torch_threads"]

WARM_UP_STEPS = 50
CURVE_POINTS = 200
Curve = tuple[tuple[int, float], ...]
"""(step, loss) pairs, at most about 200."""
OnStep = Callable[[int, float], None] | None


class SupportsSteps(Protocol):
    """Optimizer, or several in one."""

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Groups of weights with their settings."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Remove the gradients."""

    def step(self) -> Any:
        """Take one step."""


def fit(
    optimizer: SupportsSteps,
    schedule: torch.optim.lr_scheduler.LRScheduler | None,
    losses: Iterable[Tensor],
    *,
    max_norm: float | None = None,
    on_loss: Callable[[int, Tensor], None] | None = None,
) -> None:
    """Take an optimizer step for each loss.

    Args:
        optimizer: optimizer of the weights.
        schedule: learning rate of each step; None: the losses set it.
        losses: losses of the steps; each is computed after the previous step.
        max_norm: norm to which gradients are clipped; None: no clipping.
        on_loss: called with (step from 1, loss) after every step.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for number, loss in enumerate(losses, start=1):
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_(weights, max_norm)
        optimizer.step()
        if schedule is not None:
            schedule.step()
        if on_loss is not None:
            on_loss(number, loss.detach())


def run_training_loop(
    optimizer: torch.optim.Optimizer, losses: Iterable[Tensor], steps: int, what: str, on_step: OnStep = None
) -> Curve:
    """Train an autoencoder with gradients clipped to norm 1 and :func:`cosine_schedule`.

    Args:
        optimizer: optimizer of the weights, with the peak of the learning rate.
        losses: ``steps`` losses; each is computed after the previous step.
        steps: number of steps.
        what: name and value of the learning rate, for errors.
        on_step: called with (step from 1, loss) after every step.

    Returns:
        The loss curve.

    Raises:
        ConfigError: a non-finite loss.
    """
    curve = []

    def record(number: int, value: Tensor) -> None:
        loss = value.item()
        if not math.isfinite(loss):
            raise ConfigError(f"autoencoder: loss {loss} at step {number}; lower {what}")
        if number % max(1, steps // CURVE_POINTS) == 0:
            curve.append((number, loss))
        if on_step:
            on_step(number, loss)

    fit(optimizer, cosine_schedule(optimizer, steps), losses, max_norm=1.0, on_loss=record)
    return tuple(curve)


def batches(images: NDArray[np.uint8], batch_size: int, steps: int, noise: torch.Generator) -> Iterator[Tensor]:
    """Draw ``steps`` batches float32 [B, 3, S, S] in -1..1: a new shuffle each epoch, half the images mirrored."""
    order = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        while len(order) < batch_size:
            order = torch.cat([order, torch.randperm(len(images), generator=noise)])
        rows, order = order[:batch_size], order[batch_size:]
        pictures = to_model_range(images[rows.numpy()])
        mirrored = torch.rand(batch_size, 1, 1, 1, generator=noise) < 0.5
        yield torch.where(mirrored, pictures.flip(-1), pictures)


def cosine_schedule(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Build a schedule of a short linear warm-up and a half-cosine decay to zero."""
    warm_up = min(WARM_UP_STEPS, max(1, steps // 10))
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * step / steps))
    )


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Set the number of torch threads within the context; None keeps it."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
