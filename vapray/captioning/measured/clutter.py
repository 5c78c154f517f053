"""Hair, dark corners and further lesions in a picture."""

import numpy as np
from scipy import ndimage

from vapray.captioning.measured.frame import Floats, Mask
from vapray.captioning.measured.lesion import RADIUS, contrast

HAIR_DARKER = 6.0
"""Lightness by which a hair is darker than the skin on both sides of it."""

HAIR_SIZE = 5
"""Pixels that hair is narrower than."""

HAIR_LENGTH, HAIR_FILL = 10.0, 0.3
"""Least diagonal of a hair's box in pixels, and the largest share of the squared diagonal that a hair covers."""

HAIR_REDDER = 2.5
"""Change in Lab's a from which a thin dark line is a vessel."""

SOME_FROM, MANY_FROM = 0.003, 0.045
"""Shares of the skin in view that hairs cover."""

MIN_SKIN = 0.08
"""Share of the square that must be skin for hair to be looked for."""

CORNER, DARK_CORNER, DARK_CORNERS = 12, 5.0, 3
"""Side of a corner in pixels; lightness by which it is darker than the skin; number of corners that must be so."""

FURTHER_CONTRAST, MIN_CONTRAST = 0.7, 12.0
"""Share of the first lesion's contrast, and distance in Lab, that a further lesion must have."""

FURTHER_AREA, FURTHER_FILL = 0.004, 0.5
"""Share of the square that a further lesion must cover, and the share of its box that it must fill."""

FURTHER_RADIUS = 1.0
"""Distance from the centre up to which the middle of a further lesion may lie: corners are dark for other reasons."""


def hair_word(hair: Mask, skin: Mask) -> str | None:
    """Return how much hair lies on the skin; None where too little skin is in view.

    Args:
        hair: [S, S], as from ``find_hair``.
        skin: [S, S], pixels in view that are not lesion.
    """
    if skin.mean() < MIN_SKIN:
        return None
    cover = float((hair & skin).sum() / skin.sum())
    return "none" if cover < SOME_FROM else "some" if cover < MANY_FROM else "many"


def find_hair(lab: Floats) -> Mask:
    """Return the pixels of [S, S, 3] on thin dark lines that are not redder than their surroundings, as vessels are."""
    darker = ndimage.grey_closing(lab[..., 0], size=(HAIR_SIZE, HAIR_SIZE)) - lab[..., 0] > HAIR_DARKER
    redder = lab[..., 1] - ndimage.median_filter(lab[..., 1], 2 * HAIR_SIZE - 1)
    labels, count = ndimage.label(darker, np.ones((3, 3)))
    numbers = np.arange(count + 1)
    areas, reds = np.bincount(labels.ravel(), minlength=count + 1), ndimage.mean(redder, labels, numbers)
    is_hair = np.zeros(count + 1, bool)
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        diagonal = np.hypot(rows.stop - rows.start, columns.stop - columns.start)
        is_line = diagonal >= HAIR_LENGTH and areas[number] < HAIR_FILL * diagonal**2
        is_hair[number] = is_line and reds[number] < HAIR_REDDER
    return np.asarray(is_hair[labels])


def corners_word(lightness: Floats, skin: Mask, usual: float) -> str:
    """Return ``dark`` if most corners of [S, S] are darker than the ``usual`` lightness of the skin, else ``even``."""
    near, far = slice(None, CORNER), slice(-CORNER, None)
    dark = 0
    for box in ((near, near), (near, far), (far, near), (far, far)):
        seen = lightness[box][skin[box]]
        dark += bool(seen.size >= CORNER and np.median(seen) < usual - DARK_CORNER)
    return "dark" if dark >= DARK_CORNERS else "even"


def lesions_word(lab: Floats, mask: Mask, skin: Mask, background: Floats) -> str:
    """Return ``several`` if another region of the skin stands out as the lesion does, else ``single``.

    Args:
        lab: [S, S, 3], without hair.
        mask: [S, S], the lesion.
        skin: [S, S], pixels in view that are neither lesion nor hair.
        background: [S, S, 3], the skin's colour without lesions.
    """
    distance = contrast(lab, background)
    least = max(FURTHER_CONTRAST * float(np.median(distance[mask])), MIN_CONTRAST)
    labels, _ = ndimage.label(ndimage.binary_opening((distance > least) & skin))
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        region = labels[box] == number
        is_compact = region.sum() >= FURTHER_AREA * mask.size and region.mean() >= FURTHER_FILL
        if is_compact and float(RADIUS[box][region].mean()) <= FURTHER_RADIUS:
            return "several"
    return "single"
