"""What a rank knows of the world around its loop."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from vapray.training.network import Network

__all__ = ["Worker"]


@dataclass(frozen=True)
class Worker:
    """What a rank knows of the world.

    Attributes:
        rank: 0..world-1.
        world: number of ranks; above 1 a torch process group is up.
        device: where the model lives.
        report: takes (step, values) of the learning curve, on rank 0.
        save: stores the files of a training state under a step, on rank 0; called in a thread of its own.
        is_save_asked: whether a checkpoint is asked for out of turn, until ``say_saved``; on rank 0.
        validate: distance of the averaged network's images to the validation split; every rank has it, rank 0 calls
            it, in that thread too; None: never asked.
        say_saved: is told the step of a checkpoint that was asked for, once it is stored.
        track: takes (step, values) that are shown but are no point of the learning curve.
    """

    rank: int
    world: int
    device: torch.device
    report: Callable[[int, Mapping[str, float]], None]
    save: Callable[[int, Mapping[str, bytes]], None]
    is_save_asked: Callable[[], bool] = lambda: False
    validate: Callable[[Network], float] | None = None
    say_saved: Callable[[int], None] = lambda step: None
    track: Callable[[int, Mapping[str, float]], None] = lambda step, values: None
