"""Batches, schedule, averaged weights and images of the peers, the same for all that have them."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from tests.benchmarks.training_arm import Images
from vapray.models.precision import matrix_products
from vapray.training.optimizer import average_weights, ema_decay

__all__ = ["BATCH", "CPU", "SAMPLING_STEPS", "SIDE", "Peer", "Steps", "TrainingImages", "drawn"]

SIDE, BATCH, SAMPLING_STEPS, DRAWN_AT_ONCE = 64, 32, 25, 50
AVERAGE, WARMUP = 0.999, 0.05
"""Highest decay of averaged weights, and the share of the time in which learning rates rise."""
CPU = torch.device("cpu")


class Peer(Protocol):
    """A model in training."""

    classes: bool
    """True if it is conditioned on classes."""
    network: nn.Module
    """Network that draws images; its parameters are reported."""

    def step(self, share: float) -> None:
        """Take an optimizer step; of a GAN, one of the generator and those of the discriminator before it.

        Args:
            share: share of the time that has passed, 0 to 1.
        """

    def generate(self, labels: Sequence[int]) -> Images:
        """Draw an image of each class."""


@dataclass(frozen=True)
class TrainingImages:
    """Images uint8 [N, 64, 64, 3] with their classes."""

    images: Images
    labels: Sequence[int]
    num_classes: int

    def batches(self, seed: int, *, alike: bool = True) -> Iterator[tuple[Tensor, Tensor]]:
        """Endless batches: images in -1..1 [32, 3, 64, 64] and classes [32]; classes are alike, or images."""
        draw, labels = np.random.default_rng(seed), np.array(self.labels)
        rows_of = [np.flatnonzero(labels == label) for label in range(self.num_classes)]
        while True:
            rows = draw.integers(0, len(labels), BATCH)
            if alike:
                rows = np.array([draw.choice(rows_of[label]) for label in draw.integers(0, self.num_classes, BATCH)])
            images = torch.from_numpy(self.images[rows]).permute(0, 3, 1, 2).float() / 127.5 - 1
            mirrored = torch.from_numpy(draw.random(BATCH) < 0.5)[:, None, None, None]
            yield torch.where(mirrored, images.flip(-1), images), torch.from_numpy(labels[rows])


def _to_pixels(images: Tensor) -> Images:
    return ((images.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def drawn(labels: Sequence[int], draw: Callable[[Tensor], Tensor]) -> Images:
    """Draw images some at a time; ``draw`` gets classes [B] and returns images in -1..1."""
    asked = torch.tensor(labels)
    with torch.no_grad():
        return np.concatenate([_to_pixels(draw(some)) for some in asked.split(DRAWN_AT_ONCE)])


class Steps:
    """Optimizer steps with a schedule, and averaged weights.

    Args:
        network: network in training.
        optimizer: optimizer of its weights.
    """

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._network, self._optimizer, self._taken = network, optimizer, 0
        self._rate = float(optimizer.param_groups[0]["lr"])
        self.averaged = copy.deepcopy(network).requires_grad_(False)

    def take(self, share: float, loss: Callable[[], Tensor]) -> None:
        """Take a step on a loss at a share of the time."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * min(1.0, (share + 0.001) / WARMUP, 2 * max(0.0, 1 - share))
        self._optimizer.zero_grad()
        with matrix_products("bfloat16", CPU):
            found = loss()
        found.backward()
        nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
        self._optimizer.step()
        average_weights(self.averaged, self._network, ema_decay(self._taken, AVERAGE))
        self._taken += 1
