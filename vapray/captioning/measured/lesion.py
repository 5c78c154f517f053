"""Segmentation of the one lesion that differs in colour from the skin around it, by two models of that skin."""

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import label

from vapray.captioning.measured.frame import SIDE, Floats, Mask
from vapray.captioning.measured.surface import local_mean

MIN_AREA = 0.004
"""Share of the square below which a component is noise."""

OTSU_FACTOR = 0.9
"""Lesions fade towards the skin: their edge lies a little below Otsu's threshold."""

BORDER_WIDTH = 5

SKIN_SPREAD = 5.0
"""Distance in Lab over which skin itself varies; pixels farther from a model of the skin have little weight in it."""

STIFFNESS = 0.1
"""Penalty on the curvature of a bowl of skin: a large lesion must not be taken for its bottom."""

FITTED_EVERY, FITS = 3, 6
"""Every third pixel suffices to fit six numbers; after six rounds the weights hardly change."""

_ACROSS = (np.arange(SIDE) - (SIDE - 1) / 2) / (SIDE / 2)
RADIUS: Floats = np.hypot(*np.meshgrid(_ACROSS, _ACROSS))
"""Distance from the centre; 1 at the middle of an edge, 1.4 in a corner."""

_X, _Y = np.meshgrid(_ACROSS, _ACROSS)
_BOWL: Floats = np.stack([np.ones_like(_X), _X, _Y, _X**2, _Y**2, _X * _Y], axis=-1)
_BENT = np.diag([0.0, 0.2, 0.2, 1.0, 1.0, 1.0])


def without_hair(lab: Floats) -> Floats:
    """Remove thin dark structures from lightness; they take the colour of their surroundings."""
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
    return np.asarray(np.median(colours[light >= np.median(light)], axis=0))


def bowl(features: Floats, reference: Floats, view: Mask) -> Floats:
    """Return the skin [S, S, K] as a smooth bowl, because light falls off towards the corners and skin is round.

    A robust fit that begins with the even ``reference`` [K]; the centre, where the lesion is, has least weight.
    """
    chosen = np.s_[::FITTED_EVERY, ::FITTED_EVERY]
    basis, colours = _BOWL[chosen].reshape(-1, 6), features[chosen].reshape(-1, features.shape[-1])
    prior = (view * (0.1 + np.minimum(RADIUS, 1.0) ** 2))[chosen].ravel()
    skin = np.broadcast_to(reference, colours.shape)
    for _ in range(FITS):
        weights = (prior / (1 + ((colours - skin) ** 2).sum(axis=-1) / SKIN_SPREAD**2) ** 2)[:, None]
        normal = (basis * weights).T @ basis + STIFFNESS * weights.sum() * _BENT
        bent = np.linalg.lstsq(normal, (basis * weights).T @ colours)[0]
        skin = basis @ bent
    return np.asarray(_BOWL @ bent)


def segment(features: Floats, skin: Floats, view: Mask, min_contrast: float) -> Mask:
    """Segment the region that differs from the skin.

    Args:
        features: [S, S, K] colour features in which equal distances mean equal contrasts.
        skin: [K] or [S, S, K].
        view: [S, S], the pixels that may belong to a lesion.
        min_contrast: distance below which nothing stands out.

    Returns:
        [S, S] one component without holes; all False when nothing stands out.
    """
    distance = contrast(features, skin) * view
    top = np.quantile(distance, 0.995)
    if top < min_contrast:
        return np.zeros(distance.shape, bool)
    # The root, so that a black core does not push the threshold above a pale rim.
    root = np.sqrt(np.minimum(distance, top))
    return _central_component(ndimage.binary_opening(root > OTSU_FACTOR * threshold_otsu(root), iterations=2))


def contrast(features: Floats, skin: Floats) -> Floats:
    """Return the distance [S, S] of features from the skin."""
    return np.asarray(ndimage.gaussian_filter(np.linalg.norm(features - skin, axis=-1), 1.0))


def _central_component(mask: Mask) -> Mask:
    """Keep the component with the largest area weighted towards the centre, holes filled."""
    labels = label(mask, connectivity=1)
    weights = np.bincount(labels.ravel(), np.exp(-2.0 * RADIUS.ravel() ** 2))
    weights[0] = 0
    best: Mask = labels == int(weights.argmax())
    if weights.max() == 0 or best.mean() < MIN_AREA:
        return np.zeros(mask.shape, bool)
    return np.asarray(ndimage.binary_fill_holes(best))
