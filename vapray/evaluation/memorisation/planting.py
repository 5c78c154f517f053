"""Planted copies of training images, which measure the power of the copy search."""

import io
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vapray.data.decode import decode

__all__ = ["PLANTED", "PLANTS", "plant"]

Picture = NDArray[np.uint8]
PLANTED = 25
"""Number of training images that are planted, each with every change."""
QUALITY, NOISE = 75, 5.0
"""JPEG quality; standard deviation of the noise in grey levels of 255."""


def plant(picture: Picture, rng: np.random.Generator) -> dict[str, Picture]:
    """Make changed copies of a training image uint8 [S, S, 3], by name of the change."""
    return {name: change(picture, rng) for name, change in PLANTS.items()}


def _copied(picture: Picture, rng: np.random.Generator) -> Picture:
    return picture


def _flipped(picture: Picture, rng: np.random.Generator) -> Picture:
    axes = ((0,), (1,), (0, 1))[rng.integers(3)]
    return np.ascontiguousarray(np.flip(picture, axes))


def _moved(picture: Picture, rng: np.random.Generator) -> Picture:
    """Shift by one or two pixels in both directions; new pixels repeat the edge."""
    down, right = rng.choice([-2, -1, 1, 2], 2)
    side = picture.shape[0]
    padded = np.pad(picture, ((2, 2), (2, 2), (0, 0)), mode="edge")
    return padded[2 - down : 2 - down + side, 2 - right : 2 - right + side]


def _re_encoded(picture: Picture, rng: np.random.Generator) -> Picture:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=QUALITY)
    return decode(buffer.getvalue())


def _noisy(picture: Picture, rng: np.random.Generator) -> Picture:
    return np.rint(picture + rng.normal(0, NOISE, picture.shape)).clip(0, 255).astype(np.uint8)


def _all_of_it(picture: Picture, rng: np.random.Generator) -> Picture:
    return _re_encoded(_noisy(_moved(_flipped(picture, rng), rng), rng), rng)


PLANTS: Mapping[str, Callable[[Picture, np.random.Generator], Picture]] = {
    "copied": _copied,
    "flipped": _flipped,
    "moved": _moved,
    "re-encoded": _re_encoded,
    "noisy": _noisy,
    "all of it": _all_of_it,
}
"""Changes of planted copies, by name."""
