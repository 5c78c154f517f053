"""Interface of a rank's training loop to its environment."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from vapray.training.network import Network

__all__ = ["Worker"]


@dataclass(frozen=True)
class Worker:
    """Rank, device and callbacks of a training loop.

    Attributes:
        rank: number of this rank, 0..world-1.
        world: number of ranks; above 1 a torch process group exists.
        device: device of the model.
        report: called with (step, values) of the learning curve, on rank 0.
        save: stores the files of a training state under a step, on rank 0; called in a background thread.
        is_save_asked: returns whether a checkpoint is requested out of turn, until ``say_saved``; on rank 0.
        validate: computes the distance of the EMA network's images to the validation split; every rank has it, rank 0
            calls it in the background thread; None: no validation.
        say_saved: called with the step of a requested checkpoint, after it is stored.
        track: called with (step, values) that are tracked but are not a point of the learning curve.
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
