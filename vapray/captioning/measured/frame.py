"""Working frame: every image is measured at one side length, so that scales in pixels are comparable."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom
from skimage.color import rgb2lab
from skimage.transform import resize

from vapray.errors import ImageDecodeError

SIDE = 96
"""Pixels on a side; smaller images are enlarged smoothly, larger ones reduced with anti-aliasing."""

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


def working_rgb(image: NDArray[np.uint8]) -> Floats:
    """Resize a square image to [96, 96, 3] in 0..1.

    Raises:
        ImageDecodeError: not uint8 [S, S, 3], or smaller than 8 pixels.
    """
    shape = image.shape
    if image.dtype != np.uint8 or len(shape) != 3 or shape[0] != shape[1] or shape[2] != 3 or shape[0] < 8:
        raise ImageDecodeError(
            f"cannot measure a {image.dtype} image of shape {shape}: expected uint8 [S, S, 3], S >= 8"
        )
    rgb = image.astype(np.float64) / 255
    if shape[0] < SIDE:
        return np.clip(np.stack([_enlarged(rgb[..., channel]) for channel in range(3)], axis=-1), 0, 1)
    return rgb if shape[0] == SIDE else resize(rgb, (SIDE, SIDE), order=1, anti_aliasing=True)


def _enlarged(channel: Floats) -> Floats:
    return np.asarray(zoom(channel, SIDE / channel.shape[0], order=3, mode="nearest", grid_mode=True))


def working_lab(rgb: Floats) -> Floats:
    """Convert [S, S, 3] in 0..1 to CIE Lab (L in 0..100, a and b about -60..60)."""
    return np.asarray(rgb2lab(rgb))
