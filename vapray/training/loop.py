"""Loop over optimizer steps on one rank; a :class:`RankContext` connects it to Ray and files."""

import time

from vapray.config import Config, Train
from vapray.latents.latent_space import LatentSpace
from vapray.models.uvit import UViT
from vapray.training.async_checkpoint import AsyncCheckpointer
from vapray.training.batches import Batch, Batches
from vapray.training.dataset import TrainingRows
from vapray.training.health import measure_prototypes
from vapray.training.network import build_schedule
from vapray.training.prefetch import Prefetch
from vapray.training.state import TrainingState
from vapray.training.step import OptimizerStep, StepResult
from vapray.training.worker import RankContext

__all__ = ["train"]


def train(worker: RankContext, config: Config, rows: TrainingRows, space: LatentSpace, state: TrainingState) -> None:
    """Train from ``state.step`` to ``train.steps``, in place.

    Noise, diffusion steps, flips and drops are functions of (run.seed, step, position in the global batch), so the same
    seed and world size give the same weights, resumed or not.
    """
    state.spread(config.train, worker.device, worker.rank, worker.world)
    with AsyncCheckpointer(worker, state) as background:
        background.resume()
        if state.step and _is_validation_due(worker, state, config.train) and state.step not in background.validated():
            background.validate()
        _take_steps(worker, background, config, rows, space, state)


def _take_steps(
    worker: RankContext,
    background: AsyncCheckpointer,
    config: Config,
    rows: TrainingRows,
    space: LatentSpace,
    state: TrainingState,
) -> None:
    settings = config.train
    batches = Prefetch(
        Batches(config, rows, space, rank=worker.rank, world=worker.world),
        ahead=settings.prefetch,
        end=settings.steps,
        device=worker.device,
    )
    optimizer, weight = OptimizerStep(config, state, worker.device), _weight_of_a_rank(worker, settings)
    began, first = time.monotonic(), state.step
    while state.step < settings.steps:
        batch = batches.at(state.step)
        taken = optimizer.take(batch, weight)
        state.step += 1
        if _is_due(state.step, settings.checkpoint_every, settings.steps):
            state.refuse_non_finite()  # on every rank, so that all ranks stop together
        if taken.norm is not None and _is_due(state.step, settings.report_every, settings.steps):
            seconds = time.monotonic() - began
            speed = {
                "images_per_second": (state.step - first) * settings.batch_size / seconds,
                "data_wait_share": batches.wait_seconds / seconds,
            }
            health = _health(state, batch, config)
            if worker.rank == 0:
                _report(worker, state, _point(state, taken) | speed | health)
        _tend(worker, background, state, settings)


def _weight_of_a_rank(worker: RankContext, settings: Train) -> float:
    """Compute a rank's loss weight, which makes DDP's mean over ranks the mean over the batch for unequal shares."""
    return len(range(worker.rank, settings.batch_size, worker.world)) * worker.world / settings.batch_size


def _report(worker: RankContext, state: TrainingState, point: dict[str, float]) -> None:
    state.curve.append(point)
    worker.report(state.step, point)


def _tend(worker: RankContext, background: AsyncCheckpointer, state: TrainingState, settings: Train) -> None:
    """Run validation and checkpoints between two steps."""
    if _is_validation_due(worker, state, settings):
        background.validate()
    is_asked = state.sharding.agreed(worker.is_save_asked())
    if is_asked and state.step < settings.steps:
        background.save_at_once(worker.say_saved)
    elif _is_due(state.step, settings.checkpoint_every, settings.steps):
        background.save(worker.say_saved if is_asked else None)


def _is_validation_due(worker: RankContext, state: TrainingState, settings: Train) -> bool:
    return worker.validate is not None and _is_due(state.step, settings.validate_every, settings.steps)


def _is_due(step: int, every: int, last: int) -> bool:
    return every > 0 and (step % every == 0 or step == last)


def _point(state: TrainingState, taken: StepResult) -> dict[str, float]:
    losses = taken.losses
    balancing = float(losses.balancing)
    assert taken.norm is not None
    return {
        "step": float(state.step),
        "loss": float(losses.noise),
        "reconstruction": float(losses.reconstruction),
        **({"class_balancing": balancing} if balancing else {}),
        "gradient_norm": taken.norm,
        "learning_rate": state.optimizer.param_groups[0]["lr"],
    }


def _health(state: TrainingState, batch: Batch, config: Config) -> dict[str, float]:
    """Measure the prototypes; empty for a network without them, and on ranks other than the first."""
    model = state.model if state.model.prototypes is None else state.sharding.whole(state.model)
    if not isinstance(model, UViT) or model.prototypes is None:
        return {}
    return measure_prototypes(model, build_schedule(config), batch, config.model.prototypes.alpha)
