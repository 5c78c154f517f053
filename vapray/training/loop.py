"""Loop over optimizer steps on one rank; a :class:`RankContext` connects it to Ray and files."""

import time

from vapray.config import Config, Train
from vapray.latents.latent_space import LatentSpace
from vapray.models.uvit import UViT
from vapray.training.async_checkpoint import AsyncCheckpointer
from vapray.training.batches import Batch, Batches
from vapray.training.dataset import TrainingRows
from vapray.training.health import measure_prototypes
from vapray.training.network import build_parameterization
from vapray.training.prefetch import Prefetch
from vapray.training.rank_context import RankContext
from vapray.training.state import TrainingState
from vapray.training.step import OptimizerStep, StepResult

__all__ = ["train"]


def train(context: RankContext, config: Config, rows: TrainingRows, space: LatentSpace, state: TrainingState) -> None:
    """Train from ``state.step`` to ``train.steps``, in place.

    Noise, diffusion steps, flips and drops are functions of (run.seed, step, position in the global batch), so the same
    seed and world size give the same weights, resumed or not.
    """
    state.distribute(config.train, context.device, context.rank, context.world)
    with AsyncCheckpointer(context, state) as background:
        background.resume()
        if state.step and _is_validation_due(context, state, config.train) and state.step not in background.validated():
            background.validate()
        _take_steps(context, background, config, rows, space, state)


def _take_steps(
    context: RankContext,
    background: AsyncCheckpointer,
    config: Config,
    rows: TrainingRows,
    space: LatentSpace,
    state: TrainingState,
) -> None:
    settings = config.train
    batches = Prefetch(
        Batches(config, rows, space, rank=context.rank, world=context.world),
        ahead=settings.prefetch,
        end=settings.steps,
        device=context.device,
    )
    optimizer, weight = OptimizerStep(config, state, context.device), _weight_of_a_rank(context, settings)
    began, first = time.monotonic(), state.step
    while state.step < settings.steps:
        batch = batches.at(state.step)
        taken = optimizer.step(batch, weight)
        state.step += 1
        if _is_due(state.step, settings.checkpoint_every, settings.steps):
            state.refuse_non_finite()  # on every rank, so that all ranks stop together
        if taken.norm is not None and _is_due(state.step, settings.log_every, settings.steps):
            seconds = time.monotonic() - began
            speed = {
                "images_per_second": (state.step - first) * settings.batch_size / seconds,
                "data_wait_share": batches.wait_seconds / seconds,
            }
            health = _health(state, batch, config)
            if context.rank == 0:
                state.curve.append(_point(state, taken) | speed | health)
                context.report(state.step, state.curve[-1])
        _tend(context, background, state, settings)


def _weight_of_a_rank(context: RankContext, settings: Train) -> float:
    """Compute a rank's loss weight, which makes DDP's mean over ranks the mean over the batch for unequal shares."""
    return len(range(context.rank, settings.batch_size, context.world)) * context.world / settings.batch_size


def _tend(context: RankContext, background: AsyncCheckpointer, state: TrainingState, settings: Train) -> None:
    """Run validation and checkpoints between two steps."""
    if _is_validation_due(context, state, settings):
        background.validate()
    is_asked = state.sharding.broadcast_flag(context.checkpoint_requested())
    if is_asked and state.step < settings.steps:
        background.save_now(context.confirm_checkpoint)
    elif _is_due(state.step, settings.checkpoint_every, settings.steps):
        background.save(context.confirm_checkpoint if is_asked else None)


def _is_validation_due(context: RankContext, state: TrainingState, settings: Train) -> bool:
    return context.validate is not None and _is_due(state.step, settings.validate_every, settings.steps)


def _is_due(step: int, every: int, last: int) -> bool:
    return every > 0 and (step % every == 0 or step == last)


def _point(state: TrainingState, taken: StepResult) -> dict[str, float]:
    losses = taken.losses
    balancing, alignment = float(losses.balancing), float(losses.alignment)
    assert taken.norm is not None
    return {
        "step": float(state.step),
        "loss": float(losses.denoising),
        "reconstruction": float(losses.reconstruction),
        **({"class_balancing": balancing} if balancing else {}),
        **({"alignment": alignment} if alignment else {}),
        "gradient_norm": taken.norm,
        "learning_rate": state.optimizer.param_groups[0]["lr"],
    }


def _health(state: TrainingState, batch: Batch, config: Config) -> dict[str, float]:
    """Measure the prototypes; empty for a network without them, and on ranks other than the first."""
    model = state.model if state.model.prototypes is None else state.sharding.gather_model(state.model)
    if not isinstance(model, UViT) or model.prototypes is None:
        return {}
    parameterization, alpha = build_parameterization(config), config.model.prototypes.alpha
    return measure_prototypes(model, parameterization, batch, alpha, config.diffusion.loss)
