"""Training of a small autoencoder on the run's own images, in one process.

The objective is Latent Diffusion's (Rombach et al. 2022, section 3.1) without its perceptual and adversarial
terms, which need downloaded weights; an edge term replaces their effect on sharpness.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vapray.errors import ConfigError, DataError
from vapray.latents.kl_autoencoder import KlAutoencoder
from vapray.latents.kl_network import build_autoencoder
from vapray.latents.reconstruction import psnr_db, rebuild_pictures
from vapray.latents.training_loop import Curve, OnStep, batches, run_training_loop, torch_threads

__all__ = ["MOST_HELDOUT", "FitReport", "Recipe", "fit_autoencoder", "split_heldout"]

HELDOUT_SHARE, MOST_HELDOUT = 1 / 16, 128


@dataclass(frozen=True)
class FitReport:
    """Result of a fit.

    Attributes:
        psnr_train: PSNR in decibels, mean over up to 128 training images, posterior means decoded.
        psnr_heldout: PSNR in decibels, mean over up to 128 held-out images, posterior means decoded.
        steps: number of optimizer steps.
        seconds: duration of the optimizer loop alone, in seconds.
        loss_curve: (step, loss) pairs, at most about 200.
    """

    psnr_train: float
    psnr_heldout: float
    steps: int
    seconds: float
    loss_curve: Curve


@dataclass(frozen=True)
class Recipe:
    """Architecture and hyperparameters of a fit.

    Attributes:
        channels: number of channels C of the latent.
        factor: S / latent side; a power of two.
        width: number of channels of the finest level; every deeper level has twice as many, up to four
            times. A multiple of 8.
        steps: number of optimizer steps.
        batch_size: number of images per step.
        learning_rate: peak of AdamW's learning rate, after a warm-up and before a cosine decay to zero.
        kl_weight: weight of the mean divergence per latent value from N(0, 1).
        edge_weight: weight of the L1 distance between the images' finite differences.
        seed: seed of the initial weights, the split, the order, the flips and the posterior noise.
    """

    channels: int = 4
    factor: int = 4
    width: int = 16
    steps: int = 1000
    batch_size: int = 8
    learning_rate: float = 1.5e-3
    kl_weight: float = 1e-4
    edge_weight: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.factor < 1 or self.factor & (self.factor - 1):
            raise ConfigError(f"autoencoder: factor {self.factor}; expected a power of two")
        if self.width < 8 or self.width % 8:
            raise ConfigError(f"autoencoder: width {self.width}; expected a multiple of 8")
        if self.steps < 1 or self.batch_size < 1:
            raise ConfigError(
                f"autoencoder: {self.steps} steps of {self.batch_size} images; expected at least 1 of each"
            )


def fit_autoencoder(
    images: NDArray[np.uint8],
    recipe: Recipe,
    *,
    threads: int | None = None,
    device: str = "cpu",
    on_step: OnStep = None,
) -> tuple[KlAutoencoder, FitReport]:
    """Fit a ``KlAutoencoder`` to images [N, S, S, 3]; 1 in 16 images, at most 128, is held out for the report.

    Args:
        images: uint8 [N, S, S, 3] of the training split only; S is a multiple of the recipe's factor.
        recipe: architecture and hyperparameters.
        threads: number of torch threads while fitting; None keeps the process's setting. Equal seeds and equal
            threads give equal weights on one CPU type.
        device: torch device.
        on_step: called with (step from 1, loss) after every step.

    Returns:
        The autoencoder, in evaluation mode, and the report.

    Raises:
        ConfigError: a factor that does not divide the images' sides, or a non-finite loss.
        DataError: images of another type or shape, or fewer than two.
    """
    _check_pictures(images, recipe.factor)
    with torch_threads(threads):
        noise = torch.Generator().manual_seed(recipe.seed)
        train, heldout = split_heldout(images, noise)
        side = images.shape[1]
        network: Any = build_autoencoder(recipe.channels, recipe.factor, recipe.width, side, recipe.seed).to(device)
        network.train().to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=1e-4, fused=True)
        started = time.perf_counter()
        parts = batches(train, recipe.batch_size, recipe.steps, noise)
        losses = (_loss(network, recipe, part, noise) for part in parts)
        what = f"learning_rate from {recipe.learning_rate}"
        curve = run_training_loop(optimizer, losses, recipe.steps, what, on_step)
        seconds = time.perf_counter() - started
        autoencoder = KlAutoencoder(network)
        report = FitReport(
            psnr_train=_psnr_db(autoencoder, train[:MOST_HELDOUT]),
            psnr_heldout=_psnr_db(autoencoder, heldout),
            steps=recipe.steps,
            seconds=seconds,
            loss_curve=curve,
        )
    return autoencoder, report


def _loss(network: Any, recipe: Recipe, pictures_B3HW: Tensor, noise: torch.Generator) -> Tensor:
    """Compute the reconstruction loss of samples of the posterior, and its weighted divergence from N(0, 1)."""
    pictures_B3HW = pictures_B3HW.to(network.device, memory_format=torch.channels_last)
    posterior = network.encode(pictures_B3HW).latent_dist
    deviation = torch.randn(posterior.mean.shape, generator=noise).to(network.device)
    latents = posterior.mean + posterior.std * deviation
    rebuilt = network.decode(latents).sample
    divergence = posterior.kl().mean() / latents[0].numel()
    return reconstruction_loss(rebuilt, pictures_B3HW, recipe.edge_weight) + recipe.kl_weight * divergence


def reconstruction_loss(rebuilt_B3HW: Tensor, pictures_B3HW: Tensor, edge_weight: float) -> Tensor:
    """Compute L1 + MSE of the pixels, + L1 of their finite differences along both axes."""
    error = rebuilt_B3HW - pictures_B3HW
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return functional.l1_loss(rebuilt_B3HW, pictures_B3HW) + error.square().mean() + edge_weight * edges


def _psnr_db(autoencoder: KlAutoencoder, images: NDArray[np.uint8]) -> float:
    return psnr_db(rebuild_pictures(autoencoder, images), images)


def split_heldout(images: NDArray[np.uint8], noise: torch.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Split images at random into training and held-out ones, at least one of each; DataError for fewer than two."""
    if len(images) < 2:
        raise DataError(f"autoencoder: {len(images)} training image; expected two or more, of which one is held out")
    order = torch.randperm(len(images), generator=noise).numpy()
    heldout = min(MOST_HELDOUT, max(1, int(len(images) * HELDOUT_SHARE)))
    return images[order[heldout:]], images[order[:heldout]]


def _check_pictures(images: NDArray[np.uint8], factor: int) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or len(images) < 2:
        raise DataError(f"autoencoder: {images.dtype} {images.shape}; expected two or more of uint8 [N, S, S, 3]")
    if images.shape[1] % factor or images.shape[2] % factor:
        raise ConfigError(
            f"autoencoder: factor {factor} for {images.shape[1]} x {images.shape[2]} images;"
            " expected one that divides both sides"
        )
