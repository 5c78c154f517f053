"""Loop over optimizer steps on one rank; a :class:`RankContext` connects it to Ray and files."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vapray.config import Config, Train
from vapray.latents.latent_space import LatentSpace
from vapray.models.precision import matrix_products
from vapray.models.uvit import UViT
from vapray.training.async_checkpoint import AsyncCheckpointer
from vapray.training.batches import Batch, Batches
from vapray.training.dataset import TrainingRows
from vapray.training.health import measure_prototypes
from vapray.training.network import build_parameterization
from vapray.training.prefetch import Prefetch
from vapray.training.profiling import profiled
from vapray.training.rank_context import RankContext
from vapray.training.speed import SpeedMeter, peak_flops_of
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
        settings,
        max_tokens=config.text_encoder.max_tokens,
        device=context.device,
    )
    optimizer, weight = OptimizerStep(config, state, context.device), _weight_of_a_rank(context, settings)
    speed = SpeedMeter(settings.batch_size, context.device, context.step_flops, peak_flops_of(context.device))
    speed.measure(state.step, 0.0, 0.0)
    with profiled(settings.profile_steps, context) as profiler:
        while state.step < settings.steps:
            parts = batches.at(state.step)
            taken = optimizer.step(parts, weight)
            state.step += 1
            due = _due(context, state, settings)
            if due.any:
                optimizer.settle()
            if due.saved:
                state.refuse_non_finite()  # on every rank, so that all ranks stop together
            if due.logged:
                measured = speed.measure(state.step, batches.wait_seconds, optimizer.wait_seconds)
                _log(context, state, config, taken, parts, measured)
            if due.validated:
                background.validate()
            if due.asked and state.step < settings.steps:
                background.save_now(context.confirm_checkpoint)
            elif due.saved:
                background.save(context.confirm_checkpoint if due.asked else None)
            profiler.step()


def _log(
    context: RankContext,
    state: TrainingState,
    config: Config,
    taken: StepResult,
    parts: Sequence[Batch],
    speed: Mapping[str, float],
) -> None:
    """Add a point to the learning curve, unless the step was skipped; all ranks take part."""
    if not math.isfinite(norm := taken.norm.value()):
        return
    settings, health = config.train, {}
    if (
        state.step == settings.steps
        or state.step // settings.health_every > (state.step - settings.log_every) // settings.health_every
    ):
        health = _health(state, parts[len(parts) // 2], config)
    if context.rank == 0:
        state.curve.append({**_point(state, taken, norm), **speed, **health})
        context.report(state.step, state.curve[-1])


@dataclass(frozen=True)
class _Due:
    """Actions after a step."""

    logged: bool
    validated: bool
    saved: bool
    asked: bool
    """The driver asks for a checkpoint."""

    @property
    def any(self) -> bool:
        return self.logged or self.validated or self.saved or self.asked


def _due(context: RankContext, state: TrainingState, settings: Train) -> _Due:
    logged, saved = (
        _is_due(state.step, every, settings.steps) for every in (settings.log_every, settings.checkpoint_every)
    )
    asked = state.sharding.broadcast_flag(context.checkpoint_requested())
    return _Due(logged, _is_validation_due(context, state, settings), saved, asked)


def _weight_of_a_rank(context: RankContext, settings: Train) -> float:
    """Compute a rank's loss weight, which makes DDP's mean over ranks the mean over the batch for unequal shares."""
    return len(range(context.rank, settings.batch_size, context.world)) * context.world / settings.batch_size


def _is_validation_due(context: RankContext, state: TrainingState, settings: Train) -> bool:
    return context.validate is not None and _is_due(state.step, settings.validate_every, settings.steps)


def _is_due(step: int, every: int, last: int) -> bool:
    return every > 0 and (step % every == 0 or step == last)


def _point(state: TrainingState, taken: StepResult, norm: float) -> dict[str, float]:
    losses = taken.losses
    balancing, alignment = float(losses.balancing), float(losses.alignment)
    return {
        "step": float(state.step),
        "loss": float(losses.denoising),
        "reconstruction": float(losses.reconstruction),
        **({"class_balancing": balancing} if balancing else {}),
        **({"alignment": alignment} if alignment else {}),
        "gradient_norm": norm,
        "learning_rate": state.optimizer.param_groups[0]["lr"],
    }


def _health(state: TrainingState, batch: Batch, config: Config) -> dict[str, float]:
    """Measure the prototypes; empty for a network without them, and on ranks other than the first."""
    model = state.model if state.model.prototypes is None else state.sharding.gather_model(state.model)
    if not isinstance(model, UViT) or model.prototypes is None:
        return {}
    parameterization, alpha = build_parameterization(config), config.model.prototypes.alpha
    with matrix_products(config.train.precision, model.prototypes.prototypes.device):
        return measure_prototypes(model, parameterization, batch, alpha, config.diffusion.loss)
