"""The surface inside a mask: its fine structure, and its colours without it."""

import numpy as np
from scipy import ndimage

from vapray.captioning.measured.frame import Floats, Mask

FINE, COARSE = 1.0, 3.0
"""Texture is structure between these two Gaussian scales, in pixels of the working frame."""

GROUND = 4.0
"""Gaussian scale in pixels at which the ground colour shows and the texture is gone."""

PLAIN_SHARE = 0.5


def fine_structure(lab: Floats, mask: Mask) -> tuple[float, float]:
    """Measure the texture inside the mask, where its ground colour changes least.

    Returns:
        energy: gradient of log lightness per pixel, averaged over neighbourhoods; a low percentile of them, because
            the border between two colours is no texture.
        coherence: 0..1, agreement of the neighbourhoods, one vote each, on one direction (structure tensor).
    """
    inside = plain(even_colour(lab, mask, GROUND), core(mask, 3))
    log_light = np.log(np.maximum(lab[..., 0], 3) + 10)
    detail = ndimage.gaussian_filter(log_light, FINE) - local_mean(log_light, mask, COARSE)
    down, across = np.gradient(detail)
    energy = local_mean(np.hypot(down, across), inside, COARSE)[inside]
    return float(np.percentile(energy, 35)), _coherence(down, across, inside)


def _coherence(down: Floats, across: Floats, inside: Mask) -> float:
    xx, yy, xy = (local_mean(product, inside, COARSE)[inside] for product in (across**2, down**2, across * down))
    total = xx + yy + 1e-12
    return float(np.hypot(((xx - yy) / total).mean(), (2 * xy / total).mean()))


def core(mask: Mask, margin: int) -> Mask:
    """Return the mask without a margin in pixels, or the mask itself where too little would remain."""
    inside: Mask = ndimage.binary_erosion(mask, iterations=margin)
    return inside if inside.sum() >= 30 else mask


def plain(lab: Floats, mask: Mask) -> Mask:
    """Return the PLAIN_SHARE of the mask whose colour changes least: a border between two colours shows neither."""
    down, across = np.gradient(lab, axis=(0, 1))
    change = (down**2 + across**2).sum(axis=-1)
    return np.asarray(mask & (change <= np.quantile(change[mask], PLAIN_SHARE)))


def even_colour(image: Floats, mask: Mask, scale: float) -> Floats:
    """Smooth every channel of [S, S, 3] by a Gaussian that sees only the mask."""
    return np.stack([local_mean(image[..., channel], mask, scale) for channel in range(3)], axis=-1)


def local_mean(values: Floats, mask: Mask, scale: float) -> Floats:
    """Smooth [S, S] values by a Gaussian that sees only the mask."""
    weight = ndimage.gaussian_filter(mask.astype(float), scale)
    return np.asarray(ndimage.gaussian_filter(values * mask, scale) / np.maximum(weight, 1e-6))
