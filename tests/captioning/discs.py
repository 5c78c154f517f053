"""Drawn pictures of one disc or ellipse on skin, whose attributes are plain."""

import numpy as np
from numpy.typing import NDArray

SKIN = (238, 206, 190)
BROWN = (98, 56, 34)


def disc(
    radius: float, *, side: int = 96, stretch: float = 1.0, colour: tuple[int, int, int] = BROWN
) -> NDArray[np.uint8]:
    """Return uint8 [side, side, 3]: an ellipse; its minor radius in pixels of a 96-pixel square."""
    across = (np.arange(side) + 0.5) * 96 / side - 48
    reach = np.hypot(across[None, :] / stretch, across[:, None])
    alpha = np.clip((radius - reach) + 0.5, 0, 1)[..., None]
    return (np.asarray(SKIN) * (1 - alpha) + np.asarray(colour) * alpha).astype(np.uint8)


def cluttered(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay two thin hairs over a picture [96, 96, 3], let the light fall off to the sides, and add grain."""
    across = (np.arange(96) - 47.5) / 48
    x, y = np.meshgrid(across, across)
    hairs = np.minimum(np.abs(y - 0.3 * x + 0.5), np.abs(x + 0.2 * y**2 - 0.4)) < 0.011
    light = 1 - 0.25 * (x**2 + y**2)
    grain = np.random.default_rng(0).normal(0, 3, picture.shape[:2])
    shown = np.where(hairs[..., None], (52, 38, 32), picture) * light[..., None] + grain[..., None]
    return np.rint(shown).clip(0, 255).astype(np.uint8)
