"""Visual attributes of a frontal chest X-ray."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label

from vapray.captioning.attributes import Attributes
from vapray.captioning.measured.frame import SIDE, Floats, Mask, working_rgb
from vapray.captioning.measured.lungs import LungFields, lung_fields

SYMMETRIC_FROM = 0.82
"""Reach of the smaller lung, as a share of the other's, from which a chest is symmetric."""

CLEAR_BELOW = 0.26
"""Opacity level (0 lung, 1 soft tissue) up to which a lung is clear; ribs reach about 0.2 when smoothed."""

DENSE_FROM = 0.6
MIN_OPACITY = 0.015
"""Share of the square below which a bright spot is no opacity: vessels at the hilum and a lung's rim reach 0.01."""

RIB_SCALE = 2.5
"""Gaussian scale in pixels that evens ribs out."""


def measure_chest_xray(image: NDArray[np.uint8]) -> Attributes:
    """Measure one frontal chest X-ray; empty where no two lung fields are seen."""
    brightness = working_rgb(image).mean(axis=-1)
    fields = lung_fields(brightness)
    if fields is None:
        return {}
    symmetry = min(fields.reach) / max(fields.reach) >= SYMMETRIC_FROM
    return {
        "lung_area": float((fields.left | fields.right).mean()),
        **_opacity(brightness, fields),
        "symmetry": "symmetric" if symmetry else "asymmetric",
        "heart_width": fields.heart_width,
    }


def _opacity(brightness: Floats, fields: LungFields) -> Attributes:
    """Describe the largest opacity, or say that there is none."""
    level = _opacity_level(brightness, fields)
    spot = _largest_spot(level > CLEAR_BELOW)
    if spot.mean() < MIN_OPACITY:
        return {"opacity_location": "none", "opacity_density": "none", "opacity_size": 0.0}
    peak = float(np.percentile(level[spot], 85))
    field = fields.left if (spot & fields.left).any() else fields.right
    rows = np.flatnonzero(field.any(axis=1))
    row, column = ndimage.center_of_mass(spot)
    height = "upper" if row < rows[0] + (rows[-1] - rows[0]) / 2 else "lower"
    return {
        "opacity_location": f"{'left' if column < fields.midline else 'right'} {height}",
        "opacity_density": "dense" if peak >= DENSE_FROM else "faint",
        "opacity_size": float((level > max(CLEAR_BELOW, 0.5 * peak))[spot].sum() / SIDE**2),
    }


def _opacity_level(brightness: Floats, fields: LungFields) -> Floats:
    """Return 0 for clear lung, 1 for soft tissue, and 0 outside the lung fields' interior."""
    both = fields.left | fields.right
    smooth = ndimage.gaussian_filter(brightness * both, RIB_SCALE) / np.maximum(
        ndimage.gaussian_filter(both.astype(float), RIB_SCALE), 1e-6
    )
    clear = np.percentile(brightness[both], 25)
    tissue = np.percentile(brightness[~both & (brightness > clear)], 60) if (~both).any() else 1.0
    inside = ndimage.binary_erosion(both, iterations=2)
    return np.where(inside, (smooth - clear) / max(tissue - clear, 0.05), 0.0)


def _largest_spot(mask: Mask) -> Mask:
    labels = label(ndimage.binary_opening(mask, iterations=2), connectivity=1)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == int(sizes.argmax()) if sizes.max() else np.zeros_like(mask)
