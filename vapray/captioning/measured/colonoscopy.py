"""Visual attributes of a polyp."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vapray.captioning.attributes import Attributes
from vapray.captioning.measured.frame import Floats, Mask, working_lab, working_rgb
from vapray.captioning.measured.lesion import surroundings
from vapray.captioning.measured.lesion_attributes import Thresholds, lesion_attributes
from vapray.captioning.measured.level_sets import NOTHING, STEP, Judge, best_level_set, coarse, edge_strength, fine
from vapray.captioning.measured.palette import Palette, nearest_name
from vapray.captioning.measured.surface import even_colour

COLOURS: Palette = {
    "pink": ((76.0, 27.0, 9.0),),
    "red": ((44.0, 54.0, 34.0),),
    "dark red": ((23.0, 38.0, 18.0),),
    "yellow": ((77.0, 5.0, 50.0),),
    "pale": ((89.0, 4.0, 10.0),),
}

BACKGROUNDS: Palette = {
    "pink mucosa": ((65.0, 29.0, 19.0),),
    "red mucosa": ((47.0, 37.0, 26.0),),
    "orange mucosa": ((64.0, 25.0, 39.0),),
}

THRESHOLDS = Thresholds(outline=0.065, texture_energy=0.0075, coherence=0.35, colour_share=0.13)

FLOOR = 0.05
"""Added to every channel before ratios are taken, so that dark pixels do not shout."""

GREEN_TO_BLUE_WEIGHT, BRIGHTNESS_WEIGHT = 0.7, 0.5
"""Of log green over blue and of log brightness against log red over green: blue is noisy, and folds, lumen and the
light's fall-off change brightness alone."""

DARKEST_RED = 0.15
"""Below this red channel lies the frame around the picture, or a lumen too deep to show colours."""

GLARE, GLARE_CONTRAST = 0.7, 0.15
"""A wet highlight's least channel, and by how much it exceeds its surroundings."""

SURROUNDINGS = 14.0
"""Gaussian scale in pixels of what a polyp differs from."""

SHADE = 0.6
"""Of what a pixel is darker, how much must come with another colour, or it is a lumen or the shadow of a fold."""

LUMEN_MARGIN, SHADOW_MARGIN = 0.25, 0.1
"""Other colour that a lumen has at most, against the whole picture, and a shadow, against its surroundings."""

EDGE_AT = 0.35
"""A polyp of two colours stands out less at its rim than in its middle."""

AREA_POWER = 0.2
"""Real polyps are small beside folds and lit patches, so size says little."""

LONGEST = 2.7
"""Ratio of axes above which a region is a fold's back rather than a polyp."""

MIN_STANDING = 0.25
"""A region that stands out less is a guess: phantoms reach 0.4; above it three real ones in four are right in area."""


def find_polyp(rgb: Floats) -> tuple[Mask, Floats]:
    """Return the polyp's mask [S, S], empty where none stands out, and the wall's RGB colour, for a picture in 0..1."""
    view = ndimage.binary_opening(rgb[..., 0] > DARKEST_RED, iterations=2)
    features = _colour_ratios(rgb, view & ~_glare(rgb))
    wall = surroundings(rgb, rgb.mean(axis=-1), view)
    judge = Judge(edge_strength(features, view), AREA_POWER, LONGEST)
    around = _around(features, view)
    whole = np.median(features[view], axis=0) if view.any() else around
    seen = view & ~_shade(features - whole, LUMEN_MARGIN) & ~_shade(features - around, SHADOW_MARGIN)
    fields = [sign * features[..., channel] for channel, sign in ((0, 1), (0, -1), (1, 1), (1, -1), (2, 1))]
    best = best_level_set(fields, seen, judge, around=SURROUNDINGS, edge_at=EDGE_AT)
    return (best if best.standing >= MIN_STANDING else NOTHING).mask, wall


def _glare(rgb: Floats) -> Mask:
    least = rgb.min(axis=-1)
    bright = least > np.maximum(GLARE, ndimage.gaussian_filter(least, 6.0) + GLARE_CONTRAST)
    return ndimage.binary_dilation(bright, iterations=2)


def _colour_ratios(rgb: Floats, seen: Mask) -> Floats:
    red, green, blue = np.moveaxis(even_colour(np.log(rgb + FLOOR), seen, 1.2), -1, 0)
    brightness = BRIGHTNESS_WEIGHT * (red + green + blue) / 3
    return np.stack([red - green, GREEN_TO_BLUE_WEIGHT * (green - blue), brightness], axis=-1)


def _around(features: Floats, view: Mask) -> Floats:
    """Return the surroundings' features, at half the size: they are far smoother than that."""
    return fine(even_colour(coarse(features), coarse(view) > 0.5, SURROUNDINGS / STEP))


def _shade(away: Floats, margin: float) -> Mask:
    """Return what is darker than its reference without being of another colour; colour ratios less the reference's."""
    darkness = -away[..., 2] / BRIGHTNESS_WEIGHT
    return SHADE * darkness > np.hypot(away[..., 0], away[..., 1]) + margin


def measure_colonoscopy(image: NDArray[np.uint8]) -> Attributes:
    """Measure one endoscopic square; only the background when no polyp stands out."""
    rgb = working_rgb(image)
    mask, wall = find_polyp(rgb)
    background = nearest_name(working_lab(wall[None, None])[0, 0], BACKGROUNDS)
    return lesion_attributes(rgb, mask, COLOURS, THRESHOLDS) | {"background": background}
