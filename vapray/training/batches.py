"""Batches of one rank: its share of each global batch."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from vapray.config import Config, Train
from vapray.diffusion.objective import ClassBalancing
from vapray.diffusion.randomness import TrainingDraws, draw_other_labels, draw_posterior_noise, draw_training
from vapray.latents.latent_space import LatentSpace, sample_latent
from vapray.models.precision import Precision
from vapray.models.text_tokens import TextShape
from vapray.training.alignment import alignment_weight
from vapray.training.batch_sampler import GlobalBatchSampler, caption_permutation
from vapray.training.dataset import TrainingRows
from vapray.training.network import build_noise_levels

__all__ = ["Batch", "Batches", "micro_batches"]

MULTIPLE_OF_TOKENS: dict[Precision, int] = {"float32": 1, "bfloat16": 16}
"""Multiple to which captions are padded; bfloat16 kernels are built per shape and are faster for even sizes."""


@dataclass(frozen=True)
class Batch:
    """Inputs of the objective, on the CPU."""

    clean_BCHW: Tensor
    """Normalized latents, flipped and turned according to ``draws``."""
    label_B: Tensor
    """Classes, int64."""
    context_BLD: Tensor
    """Padded text tokens, float16."""
    context_length_B: Tensor
    """Numbers of text tokens, int64; at most 1 where the condition is dropped, since the network then reads one null
    token."""
    text_shape: TextShape
    """Facts about lengths and drops, which stay on the CPU."""
    draws: TrainingDraws
    balancing: ClassBalancing | None
    """Class-balancing loss for ``train.cbdm_weight``; None without it."""
    share: float = 1.0
    """Number of its rows divided by that of the rank's complete batch: the weight of its mean loss."""
    teacher_BFHW: Tensor | None = None
    """Features of the alignment's teacher, int8; None without one."""

    def to(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Copy latents, labels, contexts and their lengths to a device."""
        tensors = (self.clean_BCHW, self.label_B, self.context_BLD, self.context_length_B)
        moved = [tensor.to(device, non_blocking=True) for tensor in tensors]
        return moved[0], moved[1], moved[2], moved[3]

    def pinned(self) -> "Batch":
        """Copy to pinned memory, from which a GPU copies asynchronously."""
        return self._each(Tensor.pin_memory)

    def split(self, count: int, *, multiple: int = 1, most: int | None = None) -> list["Batch"]:
        """Split into micro-batches of nearly equal size, sorted by context length and padded separately.

        Args:
            count: number of micro-batches; at most one per row.
            multiple: contexts are padded to a multiple of this, which limits the number of shapes.
            most: maximum padded length; None: no limit.
        """
        order = self.context_length_B.argsort(stable=True)
        return [self._rows(index, multiple, most) for index in order.tensor_split(min(count, len(order)))]

    def _rows(self, index: Tensor, multiple: int, most: int | None) -> "Batch":
        longest = int(self.context_length_B[index].max())
        padded = -(-longest // multiple) * multiple
        padded = padded if most is None else max(longest, min(padded, most))
        rows = self._each(lambda tensor: tensor[index])
        context = rows.context_BLD[:, :longest]
        context = torch.nn.functional.pad(context, (0, 0, 0, padded - longest))
        shape = TextShape.of(rows.context_length_B, rows.draws.drop_B)
        share = self.share * len(index) / len(self.label_B)
        return replace(rows, context_BLD=context, text_shape=shape, share=share)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        draws = TrainingDraws(*(change(getattr(self.draws, field.name)) for field in fields(TrainingDraws)))
        other = self.balancing and replace(self.balancing, other_label_B=change(self.balancing.other_label_B))
        return replace(
            self,
            clean_BCHW=change(self.clean_BCHW),
            label_B=change(self.label_B),
            context_BLD=change(self.context_BLD),
            context_length_B=change(self.context_length_B),
            draws=draws,
            balancing=other,
            teacher_BFHW=None if self.teacher_BFHW is None else change(self.teacher_BFHW),
        )


def micro_batches(batch: Batch, settings: Train, max_tokens: int) -> list[Batch]:
    """Split a batch as ``train.gradient_accumulation_steps`` and ``train.precision`` ask.

    Args:
        batch: rows of one rank.
        settings: section ``train``.
        max_tokens: maximum number of tokens of a caption.
    """
    count, multiple = settings.gradient_accumulation_steps, MULTIPLE_OF_TOKENS[settings.precision]
    return batch.split(count, multiple=multiple, most=max_tokens) if max(count, multiple) > 1 else [batch]


class Batches:
    """Batches of a rank, each a pure function of (run.seed, step, rank, world).

    Args:
        config: configuration; sections ``run``, ``train`` and ``diffusion`` are read.
        rows: training rows.
        space: latent space, which normalizes latents.
        rank: number of this rank; it takes positions rank, rank + world, ... of every global batch.
        world: number of ranks.
    """

    def __init__(self, config: Config, rows: TrainingRows, space: LatentSpace, *, rank: int, world: int) -> None:
        self._config, self._rows, self._space = config, rows, space
        self._num_classes = int(rows.labels.max()) + 1
        self._levels = build_noise_levels(config)
        self._places = np.arange(rank, config.train.batch_size, world)
        self._captions = caption_permutation(
            rows.labels, shuffled=config.train.caption_shuffle_fraction, seed=config.run.seed
        )
        self._order = GlobalBatchSampler(
            rows.labels,
            batch_size=config.train.batch_size,
            seed=config.run.seed,
            balance=float(config.train.class_balanced_sampling),
        )

    def at(self, step: int) -> Batch:
        """Build the batch of a step (from 0)."""
        rows = self._order.rows(step)[self._places]
        draws = self._draws(step)
        captions = self._captions[rows]
        lengths = self._rows.lengths(captions)
        lengths = np.where(draws.drop_B.numpy(), np.minimum(lengths, 1), lengths)
        mirrored = draws.flip_B.numpy() & self._rows.may_mirror(captions) & self._config.train.flip
        sides = mirrored.astype(np.int64)
        teacher = self._rows.read_teacher(rows, sides) if alignment_weight(step, self._config) else None
        moments, context = self._rows.read(rows, sides, captions, lengths)
        noise = draw_posterior_noise(self._config.run.seed, step, self._places.tolist(), self._shape)
        latents = self._space.normalize(sample_latent(moments.float(), noise))
        if self._config.train.quarter_turns:
            latents = _turned(latents, draws.turn_B * torch.from_numpy(self._rows.may_turn(captions)))
        label = torch.from_numpy(self._rows.labels[rows].astype(np.int64))
        balancing = self._balancing(step)
        length = torch.from_numpy(lengths)
        shape = TextShape.of(length, draws.drop_B)
        return Batch(latents, label, context, length, shape, draws, balancing, teacher_BFHW=teacher)

    def _balancing(self, step: int) -> ClassBalancing | None:
        tau, places = self._config.train.cbdm_weight, self._places.tolist()
        if not tau:
            return None
        return ClassBalancing(tau, draw_other_labels(self._config.run.seed, step, places, self._num_classes))

    def _draws(self, step: int) -> TrainingDraws:
        return draw_training(
            self._config.run.seed,
            step,
            self._places.tolist(),
            self._shape,
            levels=self._levels,
            drop_probability=self._config.train.condition_dropout,
        )

    @property
    def _shape(self) -> tuple[int, int, int]:
        return self._space.channels, self._space.side, self._space.side


def _turned(planes_BCHW: Tensor, turns_B: Tensor) -> Tensor:
    """Turn each plane by its number of quarter turns."""
    turned = planes_BCHW.clone()
    for count in (1, 2, 3):
        chosen = turns_B == count
        turned[chosen] = planes_BCHW[chosen].rot90(count, (2, 3))
    return turned
