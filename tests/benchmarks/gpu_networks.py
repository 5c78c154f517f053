"""Networks and training steps of the benchmark ``gpu``: torch, NumPy and vapray's networks, without its settings."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vapray.diffusion.noise_levels import NoiseLevels
from vapray.diffusion.noise_schedule import NoiseSchedule
from vapray.diffusion.objective import denoising_loss
from vapray.diffusion.parameterization import Parameterization
from vapray.diffusion.randomness import draw_training
from vapray.models.flop_counter import count_flops
from vapray.models.network_config import UViTConfig
from vapray.models.precision import Precision, matrix_products
from vapray.models.prototypes import PrototypeOptions
from vapray.models.text_tokens import TextShape
from vapray.models.uvit import UViT, build_uvit
from vapray.training.optimizer import average_weights, make_optimizer, only_present_rows, take_finite_step

CLASSES, CHANNELS, CONTEXT_WIDTH, TOKENS = 7, 4, 768, (60, 120)
PARAMETERIZATION = Parameterization(NoiseSchedule.scaled_linear())
SETTINGS = SimpleNamespace(
    optimizer="adamw", weight_decay=0.03, decay_prototypes=False, learning_rate=2e-4, betas=(0.9, 0.9)
)


@dataclass(frozen=True)
class Sizes:
    """Sizes of one network and its batch."""

    width: int
    heads: int
    side: int = 32
    depth: int = 16
    batch: int = 32
    tokens: tuple[int, int] = TOKENS

    def network(self) -> UViT:
        """Build it on the CPU."""
        config = UViTConfig(
            latent_side=self.side,
            latent_channels=CHANNELS,
            width=self.width,
            depth=self.depth,
            num_heads=self.heads,
            num_classes=CLASSES,
            patch_size=2,
            context_width=CONTEXT_WIDTH,
            prototypes=PrototypeOptions(),
        )
        return build_uvit(config, seed=0)


class TrainingStep:
    """Optimizer steps on random batches that lie on the device."""

    def __init__(self, sizes: Sizes, precision: Precision, device: torch.device, *, compiled: bool) -> None:
        self.model = sizes.network()
        self.flops = (
            3.0
            * sizes.batch
            * count_flops(self.model, (CHANNELS, sizes.side, sizes.side), sum(sizes.tokens) // 2, CONTEXT_WIDTH)
        )
        self.ema = sizes.network().to(device).requires_grad_(False)
        self.model.to(device)
        if compiled:
            self.model.compile_blocks()
        self._optimizer = make_optimizer(self.model, SETTINGS)  # type: ignore[arg-type]
        self._precision, self._device, self._steps = precision, device, 0
        self._batches = [self._batch(sizes, seed) for seed in range(4)]

    def _batch(self, sizes: Sizes, seed: int) -> tuple[Any, ...]:
        draw = np.random.default_rng(seed)
        lengths = np.sort(draw.integers(*sizes.tokens, sizes.batch, endpoint=True))
        padded = -(-int(lengths[-1]) // 16) * 16
        shape = (CHANNELS, sizes.side, sizes.side)
        draws = draw_training(
            seed, 0, range(sizes.batch), shape, levels=NoiseLevels.uniform(1000), drop_probability=0.1
        )
        length = torch.from_numpy(np.where(draws.drop_B.numpy(), 1, lengths))
        labels = torch.from_numpy(draw.integers(0, CLASSES, sizes.batch))
        tensors = (torch.randn(sizes.batch, *shape), labels, torch.randn(sizes.batch, padded, CONTEXT_WIDTH), length)
        moved = tuple(tensor.to(self._device) for tensor in tensors)
        return (*moved, draws, TextShape.of(length, draws.drop_B))

    def __call__(self) -> None:
        """Take one."""
        clean, label, context, length, draws, shape = self._batches[self._steps % len(self._batches)]
        self._steps += 1
        self._optimizer.zero_grad(set_to_none=True)
        with matrix_products(self._precision, self._device):
            losses = denoising_loss(
                self.model, PARAMETERIZATION, clean, label, context, length, draws, 0.1, text_shape=shape
            )
        losses.total.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        assert self.model.prototypes is not None
        with only_present_rows(self.model.prototypes.prototypes, self._optimizer):
            take_finite_step(self._optimizer, norm)
        average_weights(self.ema, self.model, 0.9999)


class Autoencoder(nn.Module):
    """Encoder or decoder of Stable Diffusion's shape: 128, 256, 512, 512 channels, attention at the coarsest side."""

    def __init__(self, widths: tuple[int, ...], *, decode: bool) -> None:
        super().__init__()
        ordered, blocks = widths[::-1] if decode else widths, 3 if decode else 2
        inputs, outputs = (CHANNELS, 3) if decode else (3, 2 * CHANNELS)
        layers: list[nn.Module] = [nn.Conv2d(inputs, ordered[0], 3, padding=1)]
        middle = [_Residual(widths[-1], widths[-1]), _Attention(widths[-1]), _Residual(widths[-1], widths[-1])]
        layers += middle if decode else []
        before = ordered[0]
        for level, width in enumerate(ordered):
            layers += [_Residual(before if block == 0 else width, width) for block in range(blocks)]
            before = width
            if level < len(widths) - 1:
                resize = nn.Upsample(scale_factor=2) if decode else nn.Identity()
                layers += [resize, nn.Conv2d(width, width, 3, padding=1, stride=1 if decode else 2)]
        layers += [] if decode else middle
        layers += [nn.GroupNorm(16, before), nn.SiLU(), nn.Conv2d(before, outputs, 3, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, values: Tensor) -> Tensor:
        """Map images to moments, or latents to images."""
        mapped: Tensor = self.layers(values)
        return mapped


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(16, inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.second = nn.Sequential(nn.GroupNorm(16, outputs), nn.SiLU(), nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, values: Tensor) -> Tensor:
        mapped: Tensor = self.skip(values) + self.second(self.first(values))
        return mapped


class _Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.GroupNorm(16, width), nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, values: Tensor) -> Tensor:
        tokens = self.norm(values).flatten(2).mT
        query, key, value = self.qkv(tokens)[:, None].chunk(3, dim=-1)
        mixed = self.out(F.scaled_dot_product_attention(query, key, value)[:, 0])
        return values + mixed.mT.unflatten(2, values.shape[2:])
