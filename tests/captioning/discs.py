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
