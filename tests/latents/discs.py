"""Pictures simple enough for a fit of seconds: one soft disc on a plain ground."""

import numpy as np
from numpy.typing import NDArray


def draw_discs(count: int, side: int = 16, seed: int = 0) -> NDArray[np.uint8]:
    """uint8 [count, side, side, 3]; place, size and both colours are random."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    centre, radius = rng.uniform(0.3, 0.7, (2, count, 1, 1)), rng.uniform(0.15, 0.3, (count, 1, 1))
    inside = 1 / (1 + np.exp(20 * (np.hypot(x - centre[0], y - centre[1]) - radius)))[..., None]
    disc, ground = rng.uniform(0, 255, (2, count, 1, 1, 3))
    return np.round(inside * disc + (1 - inside) * ground).astype(np.uint8)
