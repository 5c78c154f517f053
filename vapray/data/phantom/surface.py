"""Surface of lesions and polyps: rings of the named colours, and a texture.

Colours form rings of the lesion's own shape, from the rim to the centre, moved off the centre by
``OFF_CENTRE`` (relative to the radius) and bent by ``PATCH_WOBBLE``. ``SMALLEST_PATCH`` least share of the lesion
that each named colour covers; ``BLEND`` share of the lesion over which two colours mix; ``DOTS``, ``STREAKS`` of
the textures, in cycles per side of the square; ``TEXTURE_DEPTH`` relative darkening.
"""

import numpy as np
from numpy.typing import NDArray

from vapray.data.phantom.canvas import Field, Mask, rotate, smooth_field, soft_step

SMALLEST_PATCH = 0.26
OFF_CENTRE = (0.0, 0.45)
PATCH_WOBBLE = 0.06
BLEND = 0.5
DOTS = (4.5, 6.0)
STREAKS = (6.5, 8.5)
TEXTURE_DEPTH = (0.1, 0.15)


def paint_rings(
    x: Field, y: Field, depth: Field, mask: Mask, colours: NDArray[np.float32], rng: np.random.Generator
) -> Field:
    """Paint [H, W, 3]: ``mask`` divided among the rows of ``colours`` [K, 3], from the rim to the centre.

    The first covers most, each at least SMALLEST_PATCH of the mask. ``depth`` is 0 on the rim, 1 in the centre.
    """
    shares = np.sort(rng.dirichlet(np.full(len(colours), 4.0)))[::-1]
    shares = shares * (1 - SMALLEST_PATCH * len(colours)) + SMALLEST_PATCH
    aside = rotate(x, y, rng.uniform(0, 2 * np.pi))[0] / np.float32(np.sqrt(mask.mean() / np.pi))
    pattern = depth + np.float32(rng.uniform(*OFF_CENTRE)) * aside
    pattern = pattern + np.float32(PATCH_WOBBLE) * smooth_field(x, y, rng, cycles=3)
    inside = np.sort(pattern[mask])
    # Ranks instead of values make the shares exact for every pattern.
    ranks = np.interp(pattern, inside, np.linspace(0, 1, len(inside))).astype(np.float32)
    painted = np.broadcast_to(colours[0], (*mask.shape, 3))
    for edge, colour in zip(np.cumsum(shares)[:-1], colours[1:], strict=True):
        alpha = soft_step(ranks - np.float32(edge), BLEND)
        painted = painted + alpha[..., None] * (colour - painted)
    return painted


def texture_factor(texture: str, x: Field, y: Field, rng: np.random.Generator) -> Field:
    """Compute the brightness factor [H, W] of mean about 1 for ``uniform``, ``speckled`` or ``streaked``."""
    depth = np.float32(rng.uniform(*TEXTURE_DEPTH))
    if texture == "speckled":
        return 1 + depth * (_dots(x, y, rng) - np.float32(0.6))
    if texture == "streaked":
        across = rotate(x, y, rng.uniform(0, np.pi))[1] + 0.02 * smooth_field(x, y, rng, cycles=2, waves=3)
        return 1 - depth * np.sin(across * np.float32(2 * np.pi * rng.uniform(*STREAKS)))
    return 1 + np.float32(0.02) * smooth_field(x, y, rng, cycles=2, waves=3)


def _dots(x: Field, y: Field, rng: np.random.Generator) -> Field:
    """Compute a field that is -1 in dots on a bent lattice and 1 between them."""
    speed = np.float32(2 * np.pi * rng.uniform(*DOTS))
    along, across = rotate(x, y, rng.uniform(0, np.pi))
    lattice = np.cos(along * speed + smooth_field(x, y, rng, cycles=3, waves=3))
    lattice = lattice * np.cos(across * speed + smooth_field(x, y, rng, cycles=4, waves=3))
    return 1 - 2 * soft_step(lattice - np.float32(0.35), 0.5)
