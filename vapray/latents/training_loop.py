"""Training loop, batches and learning-rate schedule of autoencoder fitting and decoder tuning."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vapray.errors import ConfigError
from vapray.latents.image_tensors import to_model_range

__all__ = ["Curve", "OnStep", "batches", "cosine_schedule", "run_training_loop", "torch_threads"]

WARM_UP_STEPS = 50
CURVE_POINTS = 200
Curve = tuple[tuple[int, float], ...]
"""(step, loss) pairs, at most about 200."""
OnStep = Callable[[int, float], None] | None


def run_training_loop(
    step: Callable[[Tensor], float], parts: Iterator[Tensor], steps: int, what: str, on_step: OnStep = None
) -> Curve:
    """Run all steps.

    Args:
        step: function that runs one optimizer step on a batch and returns its loss.
        parts: ``steps`` batches.
        steps: number of steps.
        what: name and value of the learning rate, for errors.
        on_step: called with (step from 1, loss) after every step.

    Returns:
        The loss curve.

    Raises:
        ConfigError: a non-finite loss.
    """
    curve = []
    for number, batch in enumerate(parts, start=1):
        loss = step(batch)
        if not math.isfinite(loss):
            raise ConfigError(f"autoencoder: loss {loss} at step {number}; lower {what}")
        if number % max(1, steps // CURVE_POINTS) == 0:
            curve.append((number, loss))
        if on_step:
            on_step(number, loss)
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


def cosine_schedule(optimizer: torch.optim.Optimizer, steps: int) -> Any:
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
