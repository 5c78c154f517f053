"""What fitting an autoencoder and tuning a decoder have in common: batches, the learning rate's course, the loop."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vapray.errors import ConfigError
from vapray.latents.pictures import to_unit_range

__all__ = ["Curve", "OnStep", "batches", "cosine_schedule", "descend", "torch_threads"]

WARM_UP_STEPS = 50
CURVE_POINTS = 200
Curve = tuple[tuple[int, float], ...]
"""(step, loss) pairs, at most about 200."""
OnStep = Callable[[int, float], None] | None


def descend(
    step: Callable[[Tensor], float], parts: Iterator[Tensor], steps: int, what: str, on_step: OnStep = None
) -> Curve:
    """Do all steps.

    Args:
        step: one step of the optimiser on a batch; returns its loss.
        parts: ``steps`` batches.
        steps: how many.
        what: names the learning rate and its value in errors.
        on_step: called with (step from 1, loss) after every step.

    Raises:
        ConfigError: a loss that is no longer finite.
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
    """``steps`` batches float32 [B, 3, S, S] in -1..1: a new shuffle every pass, half the pictures mirrored."""
    order = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        while len(order) < batch_size:
            order = torch.cat([order, torch.randperm(len(images), generator=noise)])
        rows, order = order[:batch_size], order[batch_size:]
        pictures = to_unit_range(images[rows.numpy()])
        mirrored = torch.rand(batch_size, 1, 1, 1, generator=noise) < 0.5
        yield torch.where(mirrored, pictures.flip(-1), pictures)


def cosine_schedule(optimiser: torch.optim.Optimizer, steps: int) -> Any:
    """A short warm-up, then half a cosine down to zero."""
    warm_up = min(WARM_UP_STEPS, max(1, steps // 10))
    return torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * step / steps))
    )


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """So many threads of torch inside; None: as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
