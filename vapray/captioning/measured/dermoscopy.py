"""Visual attributes of a skin lesion."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vapray.captioning.attributes import Attributes
from vapray.captioning.measured.frame import Floats, Mask, working_lab, working_rgb
from vapray.captioning.measured.lesion import bowl, contrast, in_view, segment, surroundings, without_hair
from vapray.captioning.measured.lesion_attributes import Thresholds, lesion_attributes
from vapray.captioning.measured.level_sets import Judge, best_level_set, edge_strength
from vapray.captioning.measured.palette import Palette, nearest_name

COLOURS: Palette = {
    "light brown": ((54.0, 18.0, 32.0), (62.0, 13.0, 22.0)),
    "dark brown": ((29.0, 16.0, 22.0), (38.0, 15.0, 20.0)),
    "black": ((11.0, 3.0, 0.0),),
    "red": ((42.0, 55.0, 31.0), (52.0, 34.0, 18.0)),
    "blue-grey": ((49.0, 0.0, -18.0), (48.0, 2.0, -4.0)),
    "white": ((93.0, 1.0, 0.0),),
}
"""A pure reference and, where real skin shows it paler, a second."""

BACKGROUNDS: Palette = {
    "pale skin": ((83.0, 9.0, 12.0), (74.0, 18.0, 8.0)),
    "tan skin": ((71.0, 12.0, 24.0),),
    "brown skin": ((53.0, 15.0, 23.0),),
}

THRESHOLDS = Thresholds(outline=0.065, texture_energy=0.009, coherence=0.28, colour_share=0.13)

LIGHTNESS_WEIGHT = 0.8
"""Of lightness against colour, because light falls off towards the corners."""

MIN_CONTRAST = 4.0


AREA_POWER = 0.2
"""A dark core has the sharper edge, but the pale rim around it belongs to the lesion."""


SURROUNDINGS = 14.0
"""Gaussian scale in pixels of what a small lesion differs from."""

SMALL = 2.0
"""So many times better than the others must a lesion stand out that no threshold of the whole picture shows."""


def find_lesion(rgb: Floats) -> tuple[Mask, Floats]:
    """Return the lesion's mask [S, S], empty where none stands out, and the skin's Lab colour, for a picture in 0..1.

    Skin is taken as even and as a bowl, a small lesion is looked for; the one whose contour stands out best is it.
    """
    lab = without_hair(working_lab(rgb))
    view = in_view(lab[..., 0])
    skin = surroundings(lab, lab[..., 0], view)
    weights = np.array([LIGHTNESS_WEIGHT, 1.0, 1.0])
    features, even = lab * weights, skin * weights
    judge = Judge(edge_strength(ndimage.gaussian_filter(features, (1.5, 1.5, 0)), view), AREA_POWER, contact=1.0)
    round_skin = bowl(features, even, view)
    best = max((segment(features, model, view, MIN_CONTRAST) for model in (even, round_skin)), key=judge.standing)
    if best.any():
        small = best_level_set([contrast(features, round_skin)], view, replace(judge, contact=0.2), around=SURROUNDINGS)
        best = small.mask if small.standing > SMALL * judge.standing(best) else best
    return best, skin


def measure_dermoscopy(image: NDArray[np.uint8]) -> Attributes:
    """Measure one dermoscopic square; only the background when no lesion stands out."""
    rgb = working_rgb(image)
    mask, skin = find_lesion(rgb)
    return lesion_attributes(rgb, mask, COLOURS, THRESHOLDS) | {"background": nearest_name(skin, BACKGROUNDS)}
