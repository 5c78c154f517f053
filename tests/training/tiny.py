"""A training problem small enough for a test: random rows, a small U-ViT."""

from collections.abc import Callable, Mapping

import numpy as np
import torch

from vapray.config import Config
from vapray.config.loader import load_config
from vapray.latents.latent_space import LatentSpace
from vapray.models.uvit import UViT
from vapray.training.alignment import add_alignment
from vapray.training.dataset import TrainingRows
from vapray.training.loop import train
from vapray.training.network import build_network
from vapray.training.rank_context import RankContext
from vapray.training.state import TrainingState

SPACE = LatentSpace(2, 4, (0.1, -0.1), (1.5, 0.5))
CLASSES, WIDTH = 3, 8


def tiny_config(*overrides: str) -> Config:
    return load_config(
        None,
        [
            "data.image_size=16",
            "autoencoder.channels=2",
            "text_encoder.width=8",
            "model.width=16",
            "model.depth=2",
            "model.num_heads=2",
            "train.steps=6",
            "train.batch_size=8",
            "train.warmup_steps=2",
            "train.log_every=1",
            "train.checkpoint_every=2",
            "train.workers=1",
            *overrides,
        ],
    )


TEACHER = 6
"""Number of the teacher's features in ``tiny_rows``."""


def tiny_rows(count: int = 20) -> TrainingRows:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 5, count)
    return TrainingRows(
        labels=rng.integers(0, CLASSES, count).astype(np.int32),
        moments=rng.standard_normal((count, 2, 4, 4, 4)).astype(np.float16),
        tokens=rng.standard_normal((int(lengths.sum()), WIDTH)).astype(np.float16),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        teacher=np.random.default_rng(1).integers(-127, 128, (count, 2, TEACHER, 2, 2)).astype(np.int8),
    )


def tiny_state(config: Config) -> TrainingState:
    network = build_network(config, num_classes=CLASSES, latent_channels=2, context_width=WIDTH)
    if isinstance(network, UViT):
        add_alignment(network, config, TEACHER if config.alignment.kind == "teacher" else None)
    return TrainingState.initial(network, config.train)


def run(
    config: Config,
    state: TrainingState,
    *,
    rank: int = 0,
    world: int = 1,
    report: Callable[[int, Mapping[str, float]], None] = lambda step, point: None,
    save: Callable[[int, Mapping[str, bytes]], None] = lambda step, files: None,
    checkpoint_requested: Callable[[], bool] = lambda: False,
    validate: Callable[[UViT], float] | None = None,
    confirm_checkpoint: Callable[[int], None] = lambda step: None,
    log_metrics: Callable[[int, Mapping[str, float]], None] = lambda step, values: None,
) -> TrainingState:
    measured = None if validate is None else lambda network: {"validation_distance": validate(network)}
    context = RankContext(rank, world, torch.device("cpu"), measured)
    vars(context).update(
        report=report,
        save=save,
        checkpoint_requested=checkpoint_requested,
        confirm_checkpoint=confirm_checkpoint,
        log_metrics=log_metrics,
    )
    train(context, config, tiny_rows(), SPACE, state)
    return state
