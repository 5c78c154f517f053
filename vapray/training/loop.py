"""The loop over optimiser steps, on one rank. It knows neither Ray nor files: a :class:`Worker` stands for both."""

import math
import time

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vapray.config import Config, Train
from vapray.diffusion.objective import Losses, denoising_loss
from vapray.diffusion.schedule import Schedule
from vapray.errors import TrainingDiverged
from vapray.latents.latent_space import LatentSpace
from vapray.models.uvit import UViT
from vapray.training.background import Background
from vapray.training.batches import Batch, Batches
from vapray.training.dataset import TrainingRows
from vapray.training.health import measure_prototypes
from vapray.training.network import build_schedule
from vapray.training.optimiser import average_weights, ema_decay, learning_rate, only_present_rows
from vapray.training.state import TrainingState
from vapray.training.worker import Worker

__all__ = ["train"]


def train(worker: Worker, config: Config, rows: TrainingRows, space: LatentSpace, state: TrainingState) -> None:
    """Train from ``state.step`` to ``train.steps``, in place.

    Noise, diffusion steps, flips and drops are functions of (run.seed, step, place in the global batch), so the same
    seed and world size give the same weights, resumed or not.
    """
    with Background(worker, state) as background:
        if worker.rank == 0 and worker.validate:
            background.resume()
        _take_steps(worker, background, config, rows, space, state)


def _take_steps(
    worker: Worker,
    background: Background,
    config: Config,
    rows: TrainingRows,
    space: LatentSpace,
    state: TrainingState,
) -> None:
    settings = config.train
    batches = Batches(config, rows, space, rank=worker.rank, world=worker.world)
    schedule, weight = build_schedule(config), _weight_of_a_rank(worker, settings)
    network: nn.Module = DistributedDataParallel(state.model) if worker.world > 1 else state.model
    began, first = time.monotonic(), state.step
    while state.step < settings.steps:
        batch = batches.at(state.step)
        tensors, alpha = batch.to(worker.device), config.model.prototypes.alpha
        losses = denoising_loss(network, schedule, *tensors, batch.draws, alpha, batch.balancing)
        norm = _step(state, losses.total * weight, config)
        state.step += 1
        if _is_due(state.step, settings.checkpoint_every, settings.steps):
            state.refuse_non_finite()  # on every rank, so that all stop together
        if worker.rank == 0:
            if norm is not None and _is_due(state.step, settings.report_every, settings.steps):
                rate = (state.step - first) * settings.batch_size / (time.monotonic() - began)
                _report(worker, state, _point(state, losses, norm, rate) | _health(state, schedule, batch, config))
            _tend(worker, background, state, settings)


def _weight_of_a_rank(worker: Worker, settings: Train) -> float:
    """DDP takes the mean over ranks; so it is the mean over the batch, though some may hold a row more than others."""
    return len(range(worker.rank, settings.batch_size, worker.world)) * worker.world / settings.batch_size


def _report(worker: Worker, state: TrainingState, point: dict[str, float]) -> None:
    state.curve.append(point)
    worker.report(state.step, point)


def _tend(worker: Worker, background: Background, state: TrainingState, settings: Train) -> None:
    """What rank 0 has done between two steps: validation, a checkpoint."""
    if worker.validate and _is_due(state.step, settings.validate_every, settings.steps):
        background.validate()
    if worker.is_save_asked() and state.step < settings.steps:
        background.save_at_once(worker.say_saved)
    elif _is_due(state.step, settings.checkpoint_every, settings.steps):
        background.save()


def _is_due(step: int, every: int, last: int) -> bool:
    return every > 0 and (step % every == 0 or step == last)


def _step(state: TrainingState, loss: Tensor, config: Config) -> float | None:
    """One optimiser step; the norm of the gradient, or None for a step that was skipped."""
    settings, pcm = config.train, state.model.prototypes
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    prototypes = pcm.prototypes if pcm is not None else None
    if prototypes is not None and state.step % config.model.prototypes.update_every:
        prototypes.grad = None
    norm = float(nn.utils.clip_grad_norm_(state.model.parameters(), settings.max_gradient_norm))
    if not math.isfinite(norm):
        _skip(state, settings)
        return None
    state.skipped_in_a_row = 0
    for group in state.optimiser.param_groups:
        group["lr"] = learning_rate(state.step, settings)
    with only_present_rows(prototypes, state.optimiser):
        state.optimiser.step()
    average_weights(state.averaged, state.model, ema_decay(state.step, settings.ema_decay))
    return norm


def _skip(state: TrainingState, settings: Train) -> None:
    """All ranks see the same gradient, so they skip, and stop, together."""
    state.skipped += 1
    state.skipped_in_a_row += 1
    if state.skipped_in_a_row > settings.max_skipped_steps:
        raise TrainingDiverged(
            f"training: the gradients of {state.skipped_in_a_row} steps in a row, up to step {state.step}, are not "
            "finite; nothing of them was saved. "
            f"Lower train.learning_rate from {settings.learning_rate:g}, or look for broken latents."
        )


def _point(state: TrainingState, losses: Losses, norm: float, rate: float) -> dict[str, float]:
    balancing = float(losses.balancing.detach())
    return {
        "step": float(state.step),
        "loss": float(losses.noise.detach()),
        "reconstruction": float(losses.reconstruction.detach()),
        **({"class_balancing": balancing} if balancing else {}),
        "gradient_norm": norm,
        "learning_rate": state.optimiser.param_groups[0]["lr"],
        "images_per_second": rate,
    }


def _health(state: TrainingState, schedule: Schedule, batch: Batch, config: Config) -> dict[str, float]:
    """Of the prototypes; nothing for a network without them."""
    if not isinstance(state.model, UViT) or state.model.prototypes is None:
        return {}
    return measure_prototypes(state.model, schedule, batch, config.model.prototypes.alpha)
