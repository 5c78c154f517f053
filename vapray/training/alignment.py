"""Representation alignment in training: its head, and its weight over the steps."""

import math

import torch

from vapray.config import Config
from vapray.config.alignment import FALL
from vapray.models.alignment import AlignmentHead
from vapray.models.uvit import UViT

__all__ = ["add_alignment", "alignment_weight"]


def alignment_weight(step: int, config: Config) -> float:
    """Compute the loss weight at optimizer step ``step`` (from 0).

    It is ``alignment.weight`` for the first ``alignment.share`` of the steps, then falls to 0 as a half cosine; 0
    without alignment.
    """
    settings = config.alignment
    if settings.kind == "none":
        return 0.0
    past = (step / config.train.steps - settings.share) / FALL
    return settings.weight * (1 + math.cos(math.pi * min(max(past, 0.0), 1.0))) / 2 if past < 1 else 0.0


def add_alignment(network: UViT, config: Config, features: int | None = None) -> None:
    """Attach the alignment head that the settings ask for, with weights that depend on ``run.seed`` only.

    Args:
        network: network without a head; its own weights do not change.
        config: configuration.
        features: number of the teacher's features, for ``alignment.kind`` teacher.
    """
    settings = config.alignment
    if settings.kind == "none":
        return
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.run.seed)
        network.alignment = AlignmentHead(network.width, settings.block or max(1, config.model.depth // 4), features)
