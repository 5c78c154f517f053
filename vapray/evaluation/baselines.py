"""Baseline images that any generator must beat."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vapray.errors import DataError


def class_mean_images(
    images: NDArray[np.uint8],
    labels: NDArray[np.integer[Any]],
    label_counts: Mapping[int, int],
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Generate for each class its mean image plus Gaussian noise of the class's standard deviation at each pixel.

    The baseline has every class's colours and spread, but no correlation between pixels.

    Args:
        images: Real training images, uint8 [N, H, W, C].
        labels: Class indices [N].
        label_counts: Number of images to generate, by class.
        rng: Random generator of the noise.

    Returns:
        Images uint8 [M, H, W, C] and their labels [M], classes in ascending order.

    Raises:
        DataError: a requested class has no training image.
    """
    parts, owners = [np.zeros((0, *images.shape[1:]), np.uint8)], [np.zeros(0, np.int64)]
    for label, count in sorted(label_counts.items()):
        of_class = images[labels == label].astype(np.float32)
        if count and len(of_class) == 0:
            raise DataError(f"class {label}: {count} class-mean images requested, but it has no training image")
        if count:
            parts.append(_around_mean(of_class, count, rng))
            owners.append(np.full(count, label, np.int64))
    return np.concatenate(parts), np.concatenate(owners)


def _around_mean(images: NDArray[np.float32], count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    noise = rng.standard_normal((count, *images.shape[1:]), dtype=np.float32)
    pictures = images.mean(axis=0) + noise * images.std(axis=0)
    return np.rint(np.clip(pictures, 0, 255)).astype(np.uint8)
