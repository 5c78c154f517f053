"""The surface inside a mask: its fine structure, and its colours without it."""

import numpy as np
from scipy import ndimage

from vapray.captioning.measured.frame import Floats, Mask

FINE, COARSE = 1.0, 3.0
"""Texture is structure between these two Gaussian scales, in pixels of the working frame."""


def fine_structure(lightness: Floats, mask: Mask) -> tuple[float, float]:
    """Return (energy, coherence) of the texture inside the eroded mask.

    energy: gradient of log lightness per pixel, averaged over neighbourhoods; the quietest fifth of them
    decides, so that the border between two colours is no texture. coherence: 0..1, how far the
    neighbourhoods, one vote each, agree on one direction (structure tensor).
    """
    inside = core(mask, 3)
    log_light = np.log(np.maximum(lightness, 3) + 10)
    detail = ndimage.gaussian_filter(log_light, FINE) - local_mean(log_light, mask, COARSE)
    down, across = np.gradient(detail)
    energy = local_mean(np.hypot(down, across), inside, COARSE)[inside]
    return float(np.percentile(energy, 20)), _coherence(down, across, inside)


def _coherence(down: Floats, across: Floats, inside: Mask) -> float:
    xx, yy, xy = (local_mean(product, inside, COARSE)[inside] for product in (across**2, down**2, across * down))
    total = xx + yy + 1e-12
    return float(np.hypot(((xx - yy) / total).mean(), (2 * xy / total).mean()))


def core(mask: Mask, margin: int) -> Mask:
    """Return the mask without a margin in pixels, or the mask itself where too little would remain."""
    inside: Mask = ndimage.binary_erosion(mask, iterations=margin)
    return inside if inside.sum() >= 30 else mask


def local_mean(values: Floats, mask: Mask, scale: float) -> Floats:
    """Smooth [S, S] values by a Gaussian that sees only the mask."""
    weight = ndimage.gaussian_filter(mask.astype(float), scale)
    smooth: Floats = ndimage.gaussian_filter(values * mask, scale) / np.maximum(weight, 1e-6)
    return smooth
