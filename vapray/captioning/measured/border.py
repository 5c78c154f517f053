"""The lesion against its skin: place in the picture, contrast, and sharpness of the edge."""

import numpy as np
from scipy import ndimage

from vapray.captioning.measured.frame import SIDE, Floats, Mask
from vapray.captioning.measured.surface import core

OFF_CENTRE = 0.07
"""Distance of the centroid from the centre, as a share of the side, from which a lesion lies to one side."""

FILLING, SIDES_TOUCHED = 0.55, 3
"""Share of the square, or number of its sides touched, from which a lesion fills the picture and has no place."""

MODERATE_FROM, STRONG_FROM = 23.0, 33.0
"""Distances in Lab from which a contrast is moderate and strong; each third of real images has one word."""

SOFT_FROM, SHARP_FROM = 0.153, 0.181
"""Steepness of the edge from which it is soft and sharp; each third of real images has one word."""

GAP, RING = 3, 12
"""Pixels around a mask: those nearer than the gap belong to the edge, those up to the ring show the skin."""

EDGE_SCALE, EDGE_REACH = 0.7, 7
"""Gaussian scale of the edge profile, and side of the neighbourhood in which its steepest point is looked for."""

FAR, MIN_FAR = 10, 200
"""Pixels from a mask at which skin is free of its edge, and number of them that tell how mottled the skin is."""

USUAL_RADIUS = 24.0
"""Radius in pixels of a lesion of usual size."""

MIN_RING, MIN_EDGE = 30, 12
"""Pixels of skin and of edge below which neither contrast nor sharpness can be measured."""

_ROWS = ("upper", "", "lower")
_COLUMNS = ("left", "", "right")
_WORDS = {"": "centre", "upper": "top", "lower": "bottom"}


def place_word(mask: Mask) -> str | None:
    """Return the place of a mask [S, S] in the picture; None for a mask that fills it."""
    touched = sum(bool(side.any()) for side in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
    if mask.mean() > FILLING or touched >= SIDES_TOUCHED:
        return None
    offsets = np.array(ndimage.center_of_mass(mask)) / SIDE - (SIDE - 1) / 2 / SIDE
    row, column = (int(np.sign(offset)) * (abs(offset) > OFF_CENTRE) + 1 for offset in offsets)
    word = f"{_ROWS[row]} {_COLUMNS[column]}".strip()
    return _WORDS.get(word, word)


def edge_words(lab: Floats, mask: Mask, view: Mask) -> tuple[str, str] | None:
    """Return the words of contrast and sharpness of a lesion; None where its edge is out of view.

    Args:
        lab: [S, S, 3], without hair.
        mask: [S, S], the lesion.
        view: [S, S], the pixels that are not dark corners.
    """
    ring = ndimage.binary_dilation(mask, iterations=RING) & ~ndimage.binary_dilation(mask, iterations=GAP) & view
    edge = mask & ~ndimage.binary_erosion(mask) & _within(view)
    if ring.sum() < MIN_RING or edge.sum() < MIN_EDGE:
        return None
    skin = np.median(lab[ring], axis=0)
    difference = np.median(lab[core(mask, 2)], axis=0) - skin
    contrast = max(float(np.linalg.norm(difference)), 1e-6)
    steepness = _steepness((lab - skin) @ difference / contrast**2, mask, edge, view)
    return (
        "strong" if contrast >= STRONG_FROM else "moderate" if contrast >= MODERATE_FROM else "faint",
        "sharp" if steepness >= SHARP_FROM else "soft" if steepness >= SOFT_FROM else "gradual",
    )


def _within(view: Mask) -> Mask:
    """Return the view without the rim of the picture, where an edge is cut off."""
    inside = np.zeros_like(view)
    inside[GAP:-GAP, GAP:-GAP] = True
    return view & inside


def _steepness(profile: Floats, mask: Mask, edge: Mask, view: Mask) -> float:
    """Return the change of a profile [S, S], 0 on skin and 1 on the lesion, at its steepest near the edge.

    The steepest point near the edge, so that a mask that lies a little beside it measures the same. What mottled skin
    changes far from the lesion is no edge: its square is subtracted. Large lesions fade over more pixels: the change
    is per pixel at a radius of ``USUAL_RADIUS``, and grows with the root of the radius.
    """
    down, across = np.gradient(ndimage.gaussian_filter(profile, EDGE_SCALE))
    steepest = ndimage.maximum_filter(np.hypot(down, across), EDGE_REACH)
    far = view & ~ndimage.binary_dilation(mask, iterations=FAR)
    mottled = float(np.median(steepest[far])) if far.sum() >= MIN_FAR else 0.0
    excess = np.median(steepest[edge]) ** 2 - mottled**2
    radius = np.sqrt(mask.sum() / np.pi)
    return float(np.sqrt(max(excess, 0.0) * radius / USUAL_RADIUS))
