"""Drawing primitives: coordinates, smooth random fields, soft edges, exposure.

Coordinates are shares of the centred square's side, origin in its centre, x to the right and y down:
the square spans -0.5..0.5, and a wide image extends beyond it to the left and right.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
ImageArray = NDArray[np.uint8]
Attributes = dict[str, str | float | tuple[str, ...]]


@dataclass(frozen=True)
class Drawing:
    """Image with masks of its parts.

    Attributes:
        image: image, uint8 [H, W, 3].
        masks: bool [H, W] by name: ``lesion``, or ``lungs``, ``heart`` and ``opacity``.
    """

    image: ImageArray
    masks: dict[str, Mask]


def make_grid(height: int, width: int) -> tuple[Field, Field]:
    """Compute x [1, W] and y [H, 1] of the pixel centres, in shares of the square's side."""
    side = min(height, width)
    x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / side
    y = (np.arange(height, dtype=np.float32) + 0.5 - height / 2) / side
    return x[None, :], y[:, None]


def rotate(x: Field, y: Field, radians: float) -> tuple[Field, Field]:
    """Rotate the coordinate axes by ``radians``."""
    cosine, sine = np.float32(np.cos(radians)), np.float32(np.sin(radians))
    return np.asarray(x * cosine + y * sine), np.asarray(y * cosine - x * sine)


def smooth_field(x: Field, y: Field, rng: np.random.Generator, *, cycles: float, waves: int = 5) -> Field:
    """Draw a smooth random field of mean 0 and deviation about 1: plane waves of up to ``cycles`` per side."""
    angles = rng.uniform(0, 2 * np.pi, waves)
    speeds = 2 * np.pi * cycles * rng.uniform(0.5, 1, waves)
    phases = rng.uniform(0, 2 * np.pi, waves)
    total = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.float32)
    for angle, speed, phase in zip(angles, speeds, phases, strict=True):
        across = x * np.float32(speed * np.cos(angle)) + y * np.float32(speed * np.sin(angle))
        total += np.sin(across + np.float32(phase))
    return total * np.float32(np.sqrt(2 / waves))


def soft_step(distance: Field, width: float) -> Field:
    """Compute the soft edge of a signed distance: 0 below ``-width / 2``, 1 above ``width / 2``, smooth between."""
    t = np.clip(distance / np.float32(width) + np.float32(0.5), 0, 1)
    return t * t * (3 - 2 * t)


def blend(image: Field, colour: Field, alpha: Field) -> Field:
    """Blend ``colour`` ([3] or [H, W, 3]) over ``image`` [H, W, 3] with opacity ``alpha`` [H, W]."""
    return image + alpha[..., None] * (colour - image)


def draw_hairs(x: Field, y: Field, rng: np.random.Generator, *, count: int, width: float, bend: float) -> Field:
    """Draw the opacity [H, W] of ``count`` bent lines of ``width`` (shares of the side)."""
    cover = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.float32)
    for _ in range(count):
        along, across = rotate(x, y, rng.uniform(0, np.pi))
        curve, offset = np.float32(rng.uniform(-bend, bend)), np.float32(rng.uniform(-0.5, 0.5))
        slope = 2 * curve * along
        distance = np.abs(across - offset - curve * along * along) / np.sqrt(1 + slope * slope)
        cover = np.maximum(cover, soft_step(np.float32(width / 2) - distance, width))
    return cover


def darken_corners(x: Field, y: Field, strength: float) -> Field:
    """Compute the brightness factor [H, W]: 1 in the centre, ``1 - strength`` at 0.7 sides from it."""
    return 1 - np.float32(strength) * np.clip((x * x + y * y) / np.float32(0.49), 0, 1.3) ** 2


def expose(image: Field, rng: np.random.Generator, *, noise: float) -> ImageArray:
    """Round to uint8 after adding grey grain of deviation ``noise`` (of 255) to every pixel."""
    grain = rng.standard_normal(image.shape[:2], dtype=np.float32) * np.float32(noise)
    return np.clip(image + grain[..., None] + 0.5, 0, 255).astype(np.uint8)
