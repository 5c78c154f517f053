"""Decoder tuning (trainable f_D) on the run's own images; the encoder, and with it every latent, stays fixed.

Source: VAP-Diffusion (arXiv 2506.23641), section 2.1, which gives no objective. L1 + LPIPS is the objective of Stable
Diffusion's autoencoder without the adversarial term.
"""

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vapray.latents.latent_space import sample_latent
from vapray.latents.lpips import LPIPS
from vapray.latents.network_autoencoder import NetworkAutoencoder
from vapray.latents.reconstruction import psnr_db, rebuild_pictures
from vapray.latents.training_loop import Curve, OnStep, batches, run_training_loop, torch_threads

__all__ = ["Quality", "TuningRecipe", "TuningReport", "tune_decoder"]


@dataclass(frozen=True)
class TuningRecipe:
    """Hyperparameters of decoder tuning.

    Attributes:
        steps: number of optimizer steps.
        batch_size: number of images per step.
        learning_rate: peak of AdamW's learning rate, after a warm-up and before a cosine decay to zero.
        lpips_weight: weight of the perceptual distance relative to the L1 distance of pixels in -1..1.
        seed: seed of the order, the flips and the posterior noise.
    """

    steps: int
    batch_size: int = 8
    learning_rate: float = 1e-4
    lpips_weight: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Quality:
    """Reconstruction quality of held-out images.

    Attributes:
        psnr: peak signal-to-noise ratio, in decibels.
        lpips: mean perceptual distance; None without weights for it.
    """

    psnr: float
    lpips: float | None


@dataclass(frozen=True)
class TuningReport:
    """Result of tuning: quality before and after, seconds of the optimizer loop, (step, loss) pairs."""

    before: Quality
    after: Quality
    seconds: float
    loss_curve: Curve


def tune_decoder(
    autoencoder: NetworkAutoencoder,
    images: NDArray[np.uint8],
    heldout: NDArray[np.uint8],
    recipe: TuningRecipe,
    perceptual: LPIPS | None = None,
    *,
    threads: int | None = None,
    on_step: OnStep = None,
) -> TuningReport:
    """Tune the decoder in place; the encoder's weights do not change.

    Args:
        autoencoder: autoencoder to tune, on its own device.
        images: uint8 [N, S, S, 3] of the training split.
        heldout: uint8 [M, S, S, 3] of another split, for the report only.
        recipe: hyperparameters.
        perceptual: perceptual distance, on the autoencoder's device; None: L1 alone.
        threads: number of torch threads during tuning; None keeps the process's setting.
        on_step: called with (step from 1, loss) after every step.

    Returns:
        Quality before and after, time and loss curve.

    Raises:
        ConfigError: a non-finite loss.
        DataError: images of another type or shape, or a side that is not a multiple of the autoencoder's factor.
    """
    with torch_threads(threads):
        noise = torch.Generator().manual_seed(recipe.seed)
        before, started = _quality(autoencoder, heldout, perceptual), time.perf_counter()
        weights = [w for part in autoencoder.decoder for w in part.requires_grad_(True).parameters()]
        optimizer = torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=0.0, fused=True)
        parts = batches(images, recipe.batch_size, recipe.steps, noise)
        losses = (_loss(autoencoder, recipe, perceptual, part, noise) for part in parts)
        what = f"tune_learning_rate from {recipe.learning_rate}"
        try:
            curve = run_training_loop(optimizer, losses, recipe.steps, what, on_step)
        finally:
            autoencoder.network.eval().requires_grad_(False)
        seconds = time.perf_counter() - started
        return TuningReport(before, _quality(autoencoder, heldout, perceptual), seconds, curve)


def _loss(
    autoencoder: NetworkAutoencoder,
    recipe: TuningRecipe,
    perceptual: LPIPS | None,
    pictures_B3HW: Tensor,
    noise: torch.Generator,
) -> Tensor:
    """Compute L1 and the weighted perceptual distance of images rebuilt from samples of the posterior."""
    pictures_B3HW = pictures_B3HW.to(autoencoder.device)
    with torch.no_grad():
        moments = autoencoder.moments(pictures_B3HW)
        shape = (len(moments), autoencoder.channels, *moments.shape[2:])
        latents = sample_latent(moments, torch.randn(shape, generator=noise).to(moments.device))
    rebuilt = autoencoder.rebuild(latents)
    loss = functional.l1_loss(rebuilt, pictures_B3HW)
    if perceptual is None:
        return loss
    return loss + recipe.lpips_weight * perceptual(rebuilt, pictures_B3HW).mean()


def _quality(autoencoder: NetworkAutoencoder, images: NDArray[np.uint8], perceptual: LPIPS | None) -> Quality:
    rebuilt = rebuild_pictures(autoencoder, images)
    return Quality(psnr_db(rebuilt, images), perceptual.between(rebuilt, images) if perceptual else None)
