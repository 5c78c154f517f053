"""Attention of an image's tokens to the prototypes of its class, read from the trained network."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vapray.bank.hashing_encoder import HashingEncoder
from vapray.bank.text_encoder import TextEncoder
from vapray.diffusion.noise_schedule import NoiseSchedule
from vapray.diffusion.randomness import draw_sampling_noise
from vapray.latents.latent_space import split_moments
from vapray.models.prototypes import PrototypeCondition
from vapray.models.uvit import UViT
from vapray.sampling.sampler import Sampler
from vapray.trace.missing import Missing
from vapray.trace.traced_image import TracedImage
from vapray.trace.traced_run import TracedRun
from vapray.training.network import build_parameterization

__all__ = ["PrototypeAttention", "noised_latent", "prototype_attention", "token_weights"]


@dataclass(frozen=True)
class PrototypeAttention:
    """Attention of one row, mean over heads."""

    weights_LP: NDArray[np.float32]
    """Weights of the prototypes for each token; each row sums to 1."""
    names: Sequence[str]
    """Names of the first tokens: time, class and, if the text encoder splits texts into words, these."""
    unnamed: int
    """Number of text tokens behind them, without names; the patches follow."""
    grid: int
    """Number of patches along a side."""
    heads: int
    step: int
    """Diffusion step of the noised image."""
    steps: int
    """Number of diffusion steps."""
    noise_share: float
    """Share of noise at this step, 0..1."""
    seed: int

    @property
    def patches(self) -> NDArray[np.float32]:
        """Weights of the patch tokens, [grid, grid, P]."""
        return self.weights_LP[len(self.names) + self.unnamed :].reshape(self.grid, self.grid, -1)

    @property
    def effective_prototypes(self) -> float:
        """Number of prototypes that a token uses: exp of the entropy of its weights, mean over tokens."""
        weights = self.weights_LP.astype(np.float64)
        entropy = -(weights * np.log(np.maximum(weights, 1e-30))).sum(axis=1)
        return float(np.exp(entropy).mean())


def prototype_attention(run: TracedRun, image: TracedImage, seed: int) -> PrototypeAttention | Missing:
    """Noise the image to the middle diffusion step, as in training, and read the injection's cross-attention.

    Args:
        run: Run with the trained network.
        image: Real or generated image.
        seed: Seed of the noise.
    """
    sampler = run.sampler
    if not isinstance(sampler.network, UViT) or sampler.network.prototypes is None:
        return Missing(
            "This network has no prototypes. Fix: set model.prototypes.enabled=true with the network uvit and run "
            "the pipeline again."
        )
    if not image.caption:
        return Missing(image.no_caption)
    if image.network_pixels is None:
        return Missing("The file of this image cannot be read, so its tokens cannot be computed.")
    schedule = build_parameterization(run.config).schedule
    step = schedule.steps // 2
    (request,) = sampler.requests([image.label], [image.caption], [seed], run.settings)
    context_LD = request.context_LD
    noisy_CHW = noised_latent(sampler, image.network_pixels, schedule, step, seed)
    weights_HLP = token_weights(sampler.network, noisy_CHW, step, image.label, context_LD)
    names, unnamed = _names(sampler.network, sampler.encoder, image.caption, len(context_LD))
    return PrototypeAttention(
        weights_HLP.mean(axis=0),
        names,
        unnamed,
        run.config.patch_grid,
        len(weights_HLP),
        step,
        schedule.steps,
        float(schedule.noise_share[step]),
        seed,
    )


@torch.no_grad()
def token_weights(network: UViT, noisy_CHW: Tensor, step: int, label: int, context_LD: Tensor) -> NDArray[np.float32]:
    """Run the network on one conditional row and return the attention weights of its prototypes.

    Returns:
        Weights [heads, L, P] of the tokens [time | label | text | patches], float32; each token's sum to 1.
    """
    condition = network.prototypes
    assert isinstance(condition, PrototypeCondition)
    caught: list[Tensor] = []

    def catch(module: Any, inputs: tuple[Tensor, ...]) -> None:
        caught.append(module.weights(*inputs))

    hook = condition.injection.cross_attention.register_forward_pre_hook(catch)
    try:
        network(
            noisy_CHW[None],
            torch.tensor([step]),
            torch.tensor([label]),
            context_LD[None],
            torch.tensor([len(context_LD)]),
            reconstruct=False,
        )
    finally:
        hook.remove()
    return np.asarray(caught[0][0].numpy())


def noised_latent(sampler: Sampler, pixels: NDArray[np.uint8], schedule: NoiseSchedule, step: int, seed: int) -> Tensor:
    """Encode an image uint8 [H, W, 3] and add noise; normalized latent [C, h, w]."""
    mean_BCHW, _ = split_moments(sampler.autoencoder.encode_moments(pixels[None]))
    latent_BCHW = sampler.space.normalize(mean_BCHW.float())
    noise_BCHW = draw_sampling_noise([seed], tuple(latent_BCHW.shape[1:]))
    return schedule.add_noise(latent_BCHW, noise_BCHW, torch.tensor([step]))[0]


def _names(network: UViT, encoder: TextEncoder, caption: str, length: int) -> tuple[list[str], int]:
    """Name the tokens before the patches; also return the number of text tokens without a name."""
    labels = ["class"] if network.label_tokens == 1 else [f"class {n}" for n in range(1, network.label_tokens + 1)]
    words = encoder.tokens(caption) if length and isinstance(encoder, HashingEncoder) else []
    return ["time", *labels, *words], length - len(words)
