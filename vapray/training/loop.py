"""The loop over optimiser steps, on one rank. It knows neither Ray nor files: a :class:`Worker` stands for both."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vapray.config import Config, Train
from vapray.diffusion.objective import Losses, denoising_loss
from vapray.errors import TrainingDiverged
from vapray.latents.latent_space import LatentSpace
from vapray.models.precision import matrix_products
from vapray.models.prototypes import prototype_health
from vapray.training.batches import Batches
from vapray.training.dataset import TrainingRows
from vapray.training.network import Network, build_schedule
from vapray.training.optimiser import average_weights, ema_decay, learning_rate, only_present_rows
from vapray.training.state import TrainingState

__all__ = ["Worker", "train"]


@dataclass(frozen=True)
class Worker:
    """What a rank knows of the world.

    Attributes:
        rank: 0..world-1.
        world: number of ranks; above 1 a torch process group is up.
        device: where the model lives.
        report: takes (step, values) of the learning curve, on rank 0.
        save: stores the files of a training state under a step, on rank 0.
        is_save_asked: true once for every checkpoint that is asked for out of turn, on rank 0.
        validate: distance of the averaged network's images to the validation split, on rank 0; None: never asked.
    """

    rank: int
    world: int
    device: torch.device
    report: Callable[[int, Mapping[str, float]], None]
    save: Callable[[int, Mapping[str, bytes]], None]
    is_save_asked: Callable[[], bool] = lambda: False
    validate: Callable[[Network], float] | None = None


def train(worker: Worker, config: Config, rows: TrainingRows, space: LatentSpace, state: TrainingState) -> None:
    """Train from ``state.step`` to ``train.steps``, in place.

    Noise, diffusion steps, flips and drops are functions of (run.seed, step, place in the global batch), so the same
    seed and world size give the same weights, resumed or not.
    """
    settings = config.train
    batches = Batches(config, rows, space, rank=worker.rank, world=worker.world)
    schedule = build_schedule(config)
    network: nn.Module = DistributedDataParallel(state.model) if worker.world > 1 else state.model
    began, first = time.monotonic(), state.step
    while state.step < settings.steps:
        batch = batches.at(state.step)
        tensors, alpha = batch.to(worker.device), config.model.prototypes.alpha
        with matrix_products(settings.precision, worker.device):
            losses = denoising_loss(network, schedule, *tensors, batch.draws, alpha, batch.balancing)
        norm = _step(state, losses.total, config)
        state.step += 1
        if _is_due(state.step, settings.checkpoint_every, settings.steps):
            state.refuse_non_finite()  # on every rank, so that all stop together
        if worker.rank == 0:
            rate = (state.step - first) * settings.batch_size / (time.monotonic() - began)
            _tend(worker, state, settings, None if norm is None else _point(state, losses, norm, rate))


def _tend(worker: Worker, state: TrainingState, settings: Train, point: dict[str, float] | None) -> None:
    """What rank 0 does between two steps: report, validate, save. A skipped step has no point of the curve."""
    if point and _is_due(state.step, settings.report_every, settings.steps):
        state.curve.append(point)
        worker.report(state.step, point)
    if worker.validate and _is_due(state.step, settings.validate_every, settings.steps):
        state.consider(worker.validate(state.averaged))
    if _is_due(state.step, settings.checkpoint_every, settings.steps) or worker.is_save_asked():
        worker.save(state.step, state.to_files())


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
    pcm = state.model.prototypes
    health = prototype_health(pcm.prototypes) if pcm is not None else {}
    balancing = float(losses.balancing.detach())
    return {
        "step": float(state.step),
        "loss": float(losses.noise.detach()),
        "reconstruction": float(losses.reconstruction.detach()),
        **({"class_balancing": balancing} if balancing else {}),
        "gradient_norm": norm,
        "learning_rate": state.optimiser.param_groups[0]["lr"],
        "images_per_second": rate,
        **health,
    }
