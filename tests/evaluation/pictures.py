"""Small coloured scenes with a class-dependent blob on noise, and ways to spoil them."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Images = NDArray[np.uint8]


def scenes(count: int, seed: int, *, classes: int = 5, side: int = 32) -> tuple[Images, NDArray[np.int64]]:
    """Blobs whose colour, size and stripes depend on the class, at random places on textured ground."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    rows, columns = np.mgrid[0:side, 0:side] / side
    images = np.empty((count, side, side, 3), np.uint8)
    for i, label in enumerate(labels):
        y, x = rng.uniform(0.3, 0.7, 2)
        radius = 0.12 + 0.04 * label + rng.uniform(-0.03, 0.03)
        blob = ((rows - y) ** 2 + (columns - x) ** 2 < radius**2)[..., None]
        stripes = 25 * np.sin(2 * np.pi * (2 + label) * columns + rng.uniform(0, 6))[..., None]
        ground = np.array([215, 170, 150]) + rng.normal(0, 12, 3)
        lesion = np.array([130 - 20 * label, 70 + 15 * label, 40 + 30 * label]) + rng.normal(0, 10, 3)
        picture = np.where(blob, lesion + stripes, ground) + rng.normal(0, 6, (side, side, 3))
        images[i] = np.clip(picture, 0, 255)
    return images, labels


def blurred(images: Images, sigma: float) -> Images:
    """Gaussian blur of ``sigma`` pixels."""
    return gaussian_filter(images.astype(np.float32), (0, sigma, sigma, 0)).clip(0, 255).astype(np.uint8)


def noisy(images: Images, deviation: float, seed: int = 0) -> Images:
    """Gaussian noise of ``deviation`` grey levels."""
    noise = np.random.default_rng(seed).normal(0, deviation, images.shape)
    return (images + noise).clip(0, 255).astype(np.uint8)
