"""One rank's share of a global batch."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vapray.config import Config
from vapray.diffusion.objective import ClassBalancing
from vapray.diffusion.randomness import TrainingDraws, draw_other_labels, draw_posterior_noise, draw_training
from vapray.latents.latent_space import LatentSpace, sample_latent
from vapray.training.dataset import TrainingRows
from vapray.training.order import SampleOrder

__all__ = ["Batch", "Batches"]


@dataclass(frozen=True)
class Batch:
    """What the objective needs, on the CPU."""

    clean_BCHW: Tensor
    """Normalised latents, flipped where ``draws`` says so."""
    label_B: Tensor
    """int64."""
    context_BLD: Tensor
    """Padded text tokens."""
    context_length_B: Tensor
    """int64."""
    draws: TrainingDraws
    balancing: ClassBalancing | None
    """For ``train.class_balancing``."""

    def to(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Latents, labels, contexts and their lengths on a device."""
        tensors = (self.clean_BCHW, self.label_B, self.context_BLD, self.context_length_B)
        moved = [tensor.to(device, non_blocking=True) for tensor in tensors]
        return moved[0], moved[1], moved[2], moved[3]


class Batches:
    """The batches of a rank, each a pure function of (run.seed, step, rank, world).

    Args:
        config: sections ``run``, ``train`` and ``diffusion``.
        rows: the training rows.
        space: normalises latents.
        rank: takes places rank, rank + world, ... of every global batch.
        world: number of ranks.
    """

    def __init__(self, config: Config, rows: TrainingRows, space: LatentSpace, *, rank: int, world: int) -> None:
        self._config, self._rows, self._space = config, rows, space
        self._num_classes = int(rows.labels.max()) + 1
        self._places = np.arange(rank, config.train.batch_size, world)
        self._order = SampleOrder(
            rows.labels,
            batch_size=config.train.batch_size,
            seed=config.run.seed,
            balance_classes=config.train.balance_classes,
        )

    def at(self, step: int) -> Batch:
        """The batch of a step (from 0)."""
        rows = self._order.rows(step)[self._places]
        draws = self._draws(step)
        context, length = self._rows.contexts(rows.tolist())
        label = torch.from_numpy(self._rows.labels[rows].astype(np.int64))
        latents = self._latents(step, rows, draws.flip_B.numpy())
        return Batch(latents, label, context, length, draws, self._balancing(step))

    def _balancing(self, step: int) -> ClassBalancing | None:
        tau, places = self._config.train.class_balancing, self._places.tolist()
        if not tau:
            return None
        return ClassBalancing(tau, draw_other_labels(self._config.run.seed, step, places, self._num_classes))

    def _draws(self, step: int) -> TrainingDraws:
        return draw_training(
            self._config.run.seed,
            step,
            self._places.tolist(),
            self._shape,
            steps=self._config.diffusion.steps,
            drop_probability=self._config.train.drop_probability,
        )

    def _latents(self, step: int, rows: np.ndarray, flips: np.ndarray) -> Tensor:
        sides = flips.astype(np.int64) if self._config.train.flip else np.zeros(len(rows), dtype=np.int64)
        moments = torch.from_numpy(self._rows.moments[rows, sides].astype(np.float32))
        noise = draw_posterior_noise(self._config.run.seed, step, self._places.tolist(), self._shape)
        return self._space.normalise(sample_latent(moments, noise))

    @property
    def _shape(self) -> tuple[int, int, int]:
        return self._space.channels, self._space.side, self._space.side
