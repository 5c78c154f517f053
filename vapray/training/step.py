"""Optimizer step on one rank: gradients of a batch, and the update."""

import math
import time
from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields

import torch
from torch import nn

from vapray.config import Config
from vapray.diffusion.host_copies import Readback
from vapray.diffusion.objective import Losses, denoising_loss
from vapray.errors import TrainingDivergedError
from vapray.models.alignment import AlignmentTarget
from vapray.models.precision import matrix_products
from vapray.models.uvit import UViT
from vapray.training.alignment import alignment_weight
from vapray.training.batches import Batch
from vapray.training.network import build_parameterization
from vapray.training.optimizer import (
    average_weights,
    ema_decay,
    only_present_rows,
    set_learning_rate,
    take_finite_step,
)
from vapray.training.parallelism import full_scalar
from vapray.training.state import TrainingState

__all__ = ["OptimizerStep", "StepResult"]


@dataclass(frozen=True)
class StepResult:
    """Result of a step."""

    losses: Losses
    """Losses of this rank's rows, without gradients."""
    norm: Readback
    """Norm of the gradient before clipping; a step whose norm is not finite is skipped."""


class OptimizerStep:
    """Optimizer step, which changes a training state in place and does not wait for its device.

    A step whose gradient is not finite leaves weights and moments as they are; the average goes on. The device decides
    that; the state counts the step while the next one is under way.

    Args:
        config: configuration; sections ``train``, ``model`` and ``diffusion`` are read.
        state: weights, their average and the optimizer, distributed over the ranks; gradients are averaged over ranks.
        device: device of the state.

    Attributes:
        wait_seconds: total time spent waiting for the step before, in seconds.
    """

    def __init__(self, config: Config, state: TrainingState, device: torch.device) -> None:
        self._config, self._state, self._device = config, state, device
        self._parameterization = build_parameterization(config)
        self._uncounted: deque[tuple[int, Readback]] = deque()
        self.wait_seconds = 0.0
        if config.train.activation_checkpointing:
            state.model.recompute_activations()
        if config.train.compile and isinstance(state.model, UViT):
            state.model.compile_blocks()

    def step(self, parts: Sequence[Batch], weight: float = 1.0) -> StepResult:
        """Take one step; the caller counts it.

        Args:
            parts: micro-batches of this rank.
            weight: weight of their mean loss; other than 1 if ranks have different numbers of rows.

        Raises:
            TrainingDivergedError: too many steps in a row, without this one, had a gradient that is not finite.
        """
        state, settings = self._state, self._config.train
        state.optimizer.zero_grad(set_to_none=True)
        losses = self._gradients(parts, weight)
        pcm = state.model.prototypes
        prototypes = pcm.prototypes if pcm is not None else None
        if prototypes is not None and state.step % self._config.model.prototypes.update_every:
            prototypes.grad = None
        norm = full_scalar(nn.utils.clip_grad_norm_(state.model.parameters(), settings.max_grad_norm))
        set_learning_rate(state.optimizer, state.step, settings)
        with only_present_rows(prototypes, state.optimizer):
            take_finite_step(state.optimizer, norm)
        average_weights(state.ema, state.model, ema_decay(state.step, settings.ema_decay))
        taken = StepResult(losses, Readback(norm))
        self._uncounted.append((state.step, taken.norm))
        self._count(but=1)
        return taken

    def settle(self) -> None:
        """Wait for the last step and count it if it was skipped; errors as in ``step``."""
        self._count(but=0)

    def _gradients(self, parts: Sequence[Batch], weight: float) -> Losses:
        """Accumulate the gradients of the micro-batches; ranks exchange them once, with the last."""
        found = []
        for place, part in enumerate(parts, start=1):
            with self._state.sharding.no_sync() if place < len(parts) else nullcontext():
                losses = self._losses(part)
                (losses.total * (part.share * weight)).backward()
            found.append((part.share, losses))
        return _mean(found)

    def _losses(self, batch: Batch) -> Losses:
        tensors, alpha = batch.to(self._device), self._config.model.prototypes.alpha
        with matrix_products(self._config.train.precision, self._device):
            network = self._state.sharding.network
            return denoising_loss(
                network,
                self._parameterization,
                *tensors,
                batch.draws,
                alpha,
                batch.balancing,
                self._config.diffusion.loss,
                self._alignment(batch),
                text_shape=batch.text_shape,
            )

    def _alignment(self, batch: Batch) -> AlignmentTarget | None:
        """Build the target of the alignment head; None for a network without one."""
        if self._config.alignment.kind == "none":
            return None
        features = batch.teacher_BFHW
        moved = None if features is None else features.to(self._device, non_blocking=True)
        return AlignmentTarget(alignment_weight(self._state.step, self._config), moved)

    def _count(self, *, but: int) -> None:
        """Count skipped steps, all but the last ones; all ranks have the same gradients, so they stop together."""
        state, settings = self._state, self._config.train
        while len(self._uncounted) > but:
            step, norm = self._uncounted.popleft()
            began = time.perf_counter()
            is_skipped = not math.isfinite(norm.value())
            self.wait_seconds += time.perf_counter() - began
            state.skipped += is_skipped
            state.skipped_in_a_row = state.skipped_in_a_row + 1 if is_skipped else 0
            if state.skipped_in_a_row > settings.max_skipped_steps:
                raise TrainingDivergedError(
                    f"training: the gradients of {state.skipped_in_a_row} steps in a row, up to step {step}, are "
                    "not finite; they were not saved. "
                    f"Fix: lower train.learning_rate from {settings.learning_rate:g}, or check the latents."
                )


def _mean(parts: Sequence[tuple[float, Losses]]) -> Losses:
    """Average the losses of micro-batches by their shares."""
    names = [field.name for field in fields(Losses)]
    if len(parts) == 1:
        return Losses(*(getattr(parts[0][1], name).detach() for name in names))
    return Losses(*(torch.stack([share * getattr(one, name).detach() for share, one in parts]).sum() for name in names))
