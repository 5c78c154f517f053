"""The surface of lesions and polyps: patches of the named colours, and a texture.

``SMALLEST_PATCH`` least share of the lesion that each named colour covers; ``PATCH_CYCLES`` of the patch
pattern (whose edges wobble by ``PATCH_WOBBLE``) and ``DOTS``, ``STREAKS`` of the textures, in cycles per side
of the square; ``TEXTURE_DEPTH`` relative darkening.
"""

import numpy as np
from numpy.typing import NDArray

from vapray.data.phantom.canvas import Field, Mask, rotate, smooth_field, soft_step

SMALLEST_PATCH = 0.2
PATCH_CYCLES = (1.3, 2.4)
PATCH_WOBBLE = 0.1
DOTS = (4.5, 6.0)
STREAKS = (8.0, 11.0)
TEXTURE_DEPTH = (0.15, 0.24)
_SOFT_RANK = 0.14


def paint_patches(x: Field, y: Field, mask: Mask, colours: NDArray[np.float32], rng: np.random.Generator) -> Field:
    """Colour [H, W, 3]: ``mask`` divided among the rows of ``colours`` [K, 3], the first getting most.

    Each gets at least SMALLEST_PATCH of the mask.
    """
    shares = np.sort(rng.dirichlet(np.full(len(colours), 4.0)))[::-1]
    shares = shares * (1 - SMALLEST_PATCH * len(colours)) + SMALLEST_PATCH
    order = rng.permutation(len(colours))
    pattern = smooth_field(x, y, rng, cycles=rng.uniform(*PATCH_CYCLES))
    pattern += np.float32(PATCH_WOBBLE) * smooth_field(x, y, rng, cycles=9)
    inside = np.sort(pattern[mask])
    # Ranks, not values, so that the shares hold exactly whatever the pattern.
    ranks = np.interp(pattern, inside, np.linspace(0, 1, len(inside))).astype(np.float32)
    painted = np.broadcast_to(colours[order[0]], (*mask.shape, 3))
    for edge, colour in zip(np.cumsum(shares[order])[:-1], colours[order[1:]], strict=True):
        alpha = soft_step(ranks - np.float32(edge), _SOFT_RANK)
        painted = painted + alpha[..., None] * (colour - painted)
    return painted


def texture_factor(texture: str, x: Field, y: Field, rng: np.random.Generator) -> Field:
    """Brightness factor [H, W] of mean about 1 for ``uniform``, ``speckled`` or ``streaked``."""
    depth = np.float32(rng.uniform(*TEXTURE_DEPTH))
    if texture == "speckled":
        return 1 + depth * (_dots(x, y, rng) - np.float32(0.6))
    if texture == "streaked":
        across = rotate(x, y, rng.uniform(0, np.pi))[1] + 0.02 * smooth_field(x, y, rng, cycles=2, waves=3)
        return 1 - depth * np.sin(across * np.float32(2 * np.pi * rng.uniform(*STREAKS)))
    return 1 + np.float32(0.02) * smooth_field(x, y, rng, cycles=2, waves=3)


def _dots(x: Field, y: Field, rng: np.random.Generator) -> Field:
    """-1 in dots on a bent lattice, rising to 1 between them."""
    speed = np.float32(2 * np.pi * rng.uniform(*DOTS))
    along, across = rotate(x, y, rng.uniform(0, np.pi))
    lattice = np.cos(along * speed + smooth_field(x, y, rng, cycles=3, waves=3))
    lattice = lattice * np.cos(across * speed + smooth_field(x, y, rng, cycles=4, waves=3))
    return 1 - 2 * soft_step(lattice - np.float32(0.35), 0.5)
