"""Optimizer step on one rank: gradients of a batch, and the update."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields

import torch
from torch import nn

from vapray.config import Config
from vapray.diffusion.objective import Losses, denoising_loss
from vapray.errors import TrainingDivergedError
from vapray.models.alignment import AlignmentTarget
from vapray.models.precision import Precision, matrix_products
from vapray.models.uvit import UViT
from vapray.training.alignment import alignment_weight
from vapray.training.batches import Batch
from vapray.training.network import build_parameterization
from vapray.training.optimizer import average_weights, ema_decay, only_present_rows, set_learning_rate
from vapray.training.parallelism import full_scalar
from vapray.training.state import TrainingState

__all__ = ["OptimizerStep", "StepResult"]

MULTIPLE_OF_TOKENS: dict[Precision, int] = {"float32": 1, "bfloat16": 16}
"""Multiple to which captions are padded; bfloat16 kernels are built per shape and are faster for even sizes."""


@dataclass(frozen=True)
class StepResult:
    """Result of a step."""

    losses: Losses
    """Losses of this rank's rows, without gradients."""
    norm: float | None
    """Norm of the gradient before clipping; None for a step that was skipped because it was not finite."""


class OptimizerStep:
    """Optimizer step, which changes a training state in place.

    Args:
        config: configuration; sections ``train``, ``model`` and ``diffusion`` are read.
        state: weights, their average and the optimizer, distributed over the ranks; gradients are averaged over ranks.
        device: device of the state.
    """

    def __init__(self, config: Config, state: TrainingState, device: torch.device) -> None:
        self._config, self._state, self._device = config, state, device
        self._parameterization = build_parameterization(config)
        if config.train.activation_checkpointing:
            state.model.recompute_activations()
        if config.train.compile and isinstance(state.model, UViT):
            state.model.compile_blocks()

    def step(self, batch: Batch, weight: float = 1.0) -> StepResult:
        """Take one step; the caller counts it.

        Args:
            batch: rows of this rank.
            weight: weight of their mean loss; other than 1 if ranks have different numbers of rows.

        Raises:
            TrainingDivergedError: too many steps in a row had a gradient that is not finite.
        """
        state, settings = self._state, self._config.train
        state.optimizer.zero_grad(set_to_none=True)
        losses = self._gradients(batch, weight)
        pcm = state.model.prototypes
        prototypes = pcm.prototypes if pcm is not None else None
        if prototypes is not None and state.step % self._config.model.prototypes.update_every:
            prototypes.grad = None
        norm = full_scalar(nn.utils.clip_grad_norm_(state.model.parameters(), settings.max_grad_norm))
        if not math.isfinite(norm):
            self._skip()
            return StepResult(losses, None)
        state.skipped_in_a_row = 0
        set_learning_rate(state.optimizer, state.step, settings)
        with only_present_rows(prototypes, state.optimizer):
            state.optimizer.step()
        average_weights(state.ema, state.model, ema_decay(state.step, settings.ema_decay))
        return StepResult(losses, norm)

    def _gradients(self, batch: Batch, weight: float) -> Losses:
        """Accumulate the gradients of the micro-batches; ranks exchange them once, with the last."""
        count, multiple = (
            self._config.train.gradient_accumulation_steps,
            MULTIPLE_OF_TOKENS[self._config.train.precision],
        )
        most = self._state.model.max_context
        parts = batch.split(count, multiple=multiple, most=most) if max(count, multiple) > 1 else [batch]
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
            )

    def _alignment(self, batch: Batch) -> AlignmentTarget | None:
        """Build the target of the alignment head; None for a network without one."""
        if self._config.alignment.kind == "none":
            return None
        features = batch.teacher_BFHW
        moved = None if features is None else features.to(self._device, non_blocking=True)
        return AlignmentTarget(alignment_weight(self._state.step, self._config), moved)

    def _skip(self) -> None:
        """Skip the step; all ranks have the same gradient, so they skip, and stop, together."""
        state, settings = self._state, self._config.train
        state.skipped += 1
        state.skipped_in_a_row += 1
        if state.skipped_in_a_row > settings.max_skipped_steps:
            raise TrainingDivergedError(
                f"training: the gradients of {state.skipped_in_a_row} steps in a row, up to step {state.step}, are "
                "not finite; they were not saved. "
                f"Fix: lower train.learning_rate from {settings.learning_rate:g}, or check the latents."
            )


def _mean(parts: Sequence[tuple[float, Losses]]) -> Losses:
    """Average the losses of micro-batches by their shares."""
    names = [field.name for field in fields(Losses)]
    return Losses(*(torch.stack([share * getattr(one, name).detach() for share, one in parts]).sum() for name in names))
