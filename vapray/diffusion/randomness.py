"""Randomness as a pure function of (seed, training step, sample index), independent of the batch.

Philox is counter-based (Salmon et al. 2011): the key is (seed, purpose), the counter starts at
(step, index), and each sample reads its own stream of 2**128 blocks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from numpy.random import Generator, Philox
from torch import Tensor

from vapray.diffusion.noise_levels import NoiseLevels

__all__ = [
    "Purpose",
    "TrainingDraws",
    "draw_other_labels",
    "draw_posterior_noise",
    "draw_sampling_noise",
    "draw_training",
]


class Purpose(IntEnum):
    """Stream numbers that separate uses of one seed; they are part of every result."""

    TRAINING = 1
    POSTERIOR = 2
    SAMPLING = 3
    ORDER = 4
    OTHER_LABELS = 5
    CAPTION_OWNERS = 6


@dataclass(frozen=True)
class TrainingDraws:
    """All random values of one training batch, on the CPU."""

    noise: Tensor
    """Standard normal noise, float32 [B, C, H, W]."""
    step_B: Tensor
    """Diffusion steps 1..N, int64 [B]."""
    flip_B: Tensor
    """Mask of flipped images, bool [B], True with probability 1/2."""
    turn_B: Tensor
    """Turns by 90 degrees, int64 [B] in 0..3, uniform and independent of ``flip_B``."""
    drop_B: Tensor
    """Mask of rows whose label and text are dropped together, bool [B]."""


def _streams(purpose: Purpose, keys: Sequence[tuple[int, int, int]]) -> Iterator[Generator]:
    """Yield one generator, set to the stream of each (seed, step, index) in turn.

    Setting its state costs a quarter of building a new generator.
    """
    bits = Philox(0)
    generator = Generator(bits)
    for seed, step, index in keys:
        if not all(0 <= number < 2**64 for number in (seed, step, index)):
            raise ValueError(f"randomness: expected seed, step and index in 0..2**64-1, got {seed}, {step}, {index}")
        key = np.array([seed, purpose], dtype=np.uint64)
        counter = np.array([0, 0, index, step], dtype=np.uint64)
        bits.state = {
            "bit_generator": "Philox",
            "state": {"counter": counter, "key": key},
            "buffer": np.zeros(4, dtype=np.uint64),
            "buffer_pos": 4,
            "has_uint32": 0,
            "uinteger": 0,
        }
        yield generator


def _normals(purpose: Purpose, keys: Sequence[tuple[int, int, int]], shape: tuple[int, ...]) -> Tensor:
    noise = np.empty((len(keys), *shape), dtype=np.float32)
    for row, stream in zip(noise, _streams(purpose, keys), strict=True):
        stream.standard_normal(dtype=np.float32, out=row)
    return torch.from_numpy(noise)


def draw_training(
    seed: int,
    step: int,
    indices: Sequence[int],
    shape: tuple[int, ...],
    *,
    levels: NoiseLevels,
    drop_probability: float,
) -> TrainingDraws:
    """Draw the random values of a training step for samples with the given global indices.

    Args:
        seed: seed of the run.
        step: training step.
        indices: global sample indices, one per row.
        shape: shape of one latent, (C, H, W).
        levels: distribution of the diffusion steps.
        drop_probability: probability of dropping label and text together, 0..1.

    Returns:
        The draws, on the CPU.

    Raises:
        ValueError: a number outside 0..2**64-1, or ``drop_probability`` outside 0..1.
    """
    if not 0 <= drop_probability <= 1:
        raise ValueError(f"draws: expected drop_probability in 0..1, got {drop_probability}")
    keys = [(seed, step, int(index)) for index in indices]
    noise = np.empty((len(keys), *shape), dtype=np.float32)
    uniform = np.empty((len(keys), 3))
    for row, (noise_row, stream) in enumerate(zip(noise, _streams(Purpose.TRAINING, keys), strict=True)):
        # Scalars are drawn first, so that they do not change with the latent's shape.
        stream.random(out=uniform[row])
        stream.standard_normal(dtype=np.float32, out=noise_row)
    step_uniform, flip_uniform, drop_uniform = uniform.T
    return TrainingDraws(
        noise=torch.from_numpy(noise),
        step_B=torch.from_numpy(levels.steps(step_uniform)),
        flip_B=torch.from_numpy(flip_uniform < 0.5),
        turn_B=torch.from_numpy((flip_uniform * 8).astype(np.int64) % 4),
        drop_B=torch.from_numpy(drop_uniform < drop_probability),
    )


def draw_other_labels(seed: int, step: int, indices: Sequence[int], num_classes: int) -> Tensor:
    """Draw a uniform class per sample, independent of its own; int64 [B]. For the class-balancing loss."""
    streams = _streams(Purpose.OTHER_LABELS, [(seed, step, int(index)) for index in indices])
    return torch.tensor([int(stream.integers(num_classes)) for stream in streams], dtype=torch.int64)


def draw_posterior_noise(seed: int, step: int, indices: Sequence[int], shape: tuple[int, ...]) -> Tensor:
    """Draw noise for sampling latents from an autoencoder's moments; float32 [B, *shape], as in ``draw_training``."""
    return _normals(Purpose.POSTERIOR, [(seed, step, int(index)) for index in indices], shape)


def draw_sampling_noise(seeds: Sequence[int], shape: tuple[int, ...]) -> Tensor:
    """Draw the initial noise of sampling, one seed per image; float32 [B, *shape].

    Raises:
        ValueError: a seed outside 0..2**64-1.
    """
    return _normals(Purpose.SAMPLING, [(int(seed), 0, 0) for seed in seeds], shape)
