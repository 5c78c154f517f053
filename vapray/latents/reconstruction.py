"""Reconstruction of images from their latents, and its PSNR."""

import numpy as np
from numpy.typing import NDArray

from vapray.latents.network_autoencoder import NetworkAutoencoder

__all__ = ["psnr_db", "rebuild_pictures"]


def rebuild_pictures(autoencoder: NetworkAutoencoder, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Encode and decode images uint8 [B, H, W, 3], with posterior means."""
    return autoencoder.decode(autoencoder.encode_moments(images)[:, : autoencoder.channels])


def psnr_db(rebuilt: NDArray[np.uint8], images: NDArray[np.uint8]) -> float:
    """Compute the peak signal-to-noise ratio in decibels, the mean over images [B, H, W, 3]; at most 100 per image."""
    error = np.square(rebuilt.astype(np.float64) - images).mean(axis=(1, 2, 3))
    return float(np.mean(10 * np.log10(255.0**2 / np.maximum(error, 255.0**2 * 1e-10))))
