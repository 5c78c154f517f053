"""Finding the one lesion or polyp: what differs in colour from the frame's border."""

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import label

from vapray.captioning.measured.frame import SIDE, Floats, Mask
from vapray.captioning.measured.surface import local_mean

MIN_AREA = 0.004
"""Share of the square below which a component is noise."""

OTSU_FACTOR = 0.95
"""Lesions fade towards the skin: their edge lies a little below Otsu's threshold."""

BORDER_WIDTH = 5

_ACROSS = (np.arange(SIDE) - (SIDE - 1) / 2) / (SIDE / 2)
RADIUS: Floats = np.hypot(*np.meshgrid(_ACROSS, _ACROSS))
"""Distance from the centre; 1 at the middle of an edge, 1.4 in a corner."""


def without_hair(lab: Floats) -> Floats:
    """Close thin dark structures over, in lightness; their colour becomes that of their surroundings."""
    closed = lab.copy()
    closed[..., 0] = ndimage.grey_closing(lab[..., 0], size=(5, 5))
    hair = closed[..., 0] - lab[..., 0] > 12
    if hair.any():
        for channel in (1, 2):
            closed[..., channel] = np.where(hair, local_mean(lab[..., channel], ~hair, 2.0), lab[..., channel])
    return closed


def in_view(lightness: Floats) -> Mask:
    """Return the pixels that are not the instrument's dark corners."""
    return ~((RADIUS > 1.1) & (lightness < 20))


def surroundings(features: Floats, brightness: Floats, view: Mask) -> Floats:
    """Return the features [K] of the surroundings: the median of the brighter half of the frame's border.

    The brighter half, because a large lesion reaches the border and is nearly always the darker part of it.
    """
    border = np.ones(view.shape, bool)
    border[BORDER_WIDTH:-BORDER_WIDTH, BORDER_WIDTH:-BORDER_WIDTH] = False
    chosen = border & view if (border & view).any() else border
    colours, light = features[chosen], brightness[chosen]
    median: Floats = np.median(colours[light >= np.median(light)], axis=0)
    return median


def segment(features: Floats, reference: Floats, view: Mask, min_contrast: float) -> Mask:
    """Segment what differs from the reference.

    Args:
        features: [S, S, K] colour features in which equal distances mean equal contrasts.
        reference: [K], the surroundings.
        view: [S, S], the pixels that may belong to a lesion.
        min_contrast: distance below which nothing stands out.

    Returns:
        [S, S] one component without holes; all False when nothing stands out.
    """
    distance = ndimage.gaussian_filter(np.linalg.norm(features - reference, axis=-1), 1.0) * view
    top = np.quantile(distance, 0.98)
    if top < min_contrast:
        return np.zeros(distance.shape, bool)
    # The root, so that a black core does not push the threshold above a pale rim.
    contrast = np.sqrt(np.minimum(distance, top))
    return _central_component(ndimage.binary_opening(contrast > OTSU_FACTOR * threshold_otsu(contrast), iterations=2))


def _central_component(mask: Mask) -> Mask:
    """Keep the component with the largest area weighted towards the centre, holes filled."""
    labels = label(mask, connectivity=1)
    weights = np.bincount(labels.ravel(), np.exp(-2.0 * RADIUS.ravel() ** 2))
    weights[0] = 0
    best: Mask = labels == int(weights.argmax())
    if weights.max() == 0 or best.mean() < MIN_AREA:
        return np.zeros(mask.shape, bool)
    filled: Mask = ndimage.binary_fill_holes(best)
    return filled
