"""Measured attributes of a skin lesion: shape, outline, size, colours, texture and the skin around it."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vapray.captioning.attributes import Attributes
from vapray.captioning.measured.frame import Floats, Mask, working_lab, working_rgb
from vapray.captioning.measured.lesion import bowl, contrast, in_view, segment, surroundings, without_hair
from vapray.captioning.measured.level_sets import RegionScorer, best_level_set, edge_strength
from vapray.captioning.measured.palette import Palette, colour_set, nearest_name
from vapray.captioning.measured.scene import scene_attributes
from vapray.captioning.measured.silhouette import axis_ratio, roughness
from vapray.captioning.measured.surface import core, even_colour, fine_structure, plain
from vapray.captioning.prompt_set import Detail

COLOURS: Palette = {
    "light brown": ((54.0, 18.0, 32.0), (62.0, 13.0, 22.0)),
    "dark brown": ((29.0, 16.0, 22.0), (38.0, 15.0, 20.0)),
    "black": ((11.0, 3.0, 0.0),),
    "red": ((42.0, 55.0, 31.0), (52.0, 34.0, 18.0)),
    "blue-grey": ((49.0, 0.0, -18.0), (48.0, 2.0, -4.0)),
    "white": ((93.0, 1.0, 0.0),),
}
"""Reference colours in Lab: a pure one and, where real skin shows it paler, a second."""

BACKGROUNDS: Palette = {
    "pale skin": ((83.0, 9.0, 12.0), (74.0, 18.0, 8.0)),
    "tan skin": ((71.0, 12.0, 24.0),),
    "brown skin": ((53.0, 15.0, 23.0),),
}

OVAL_FROM, ELONGATED_FROM = 1.25, 1.8
"""Axis ratios from which a lesion is oval and elongated."""

IRREGULAR_FROM = 0.065
"""Roughness from which an outline is irregular."""

TEXTURED_FROM = 0.009
"""Fine structure from which a surface is not uniform."""

STREAKED_FROM = 0.28
"""Direction preference from which fine structure is streaks rather than speckles."""

NAMED_FROM = 0.13
"""Share of the lesion that a colour must cover to be named."""

COLOUR_SCALE = 2.0
"""Gaussian scale in pixels that removes texture before colours are named."""

LIGHTNESS_WEIGHT = 0.8
"""Weight of lightness against colour: light falls off towards the corners."""

MIN_CONTRAST = 4.0
"""Distance in weighted Lab below which nothing stands out."""

AREA_POWER = 0.2
"""Weight of the area: a dark core has the sharper edge, but the pale rim around it belongs to the lesion."""

SURROUNDINGS = 14.0
"""Gaussian scale in pixels of the skin around a small lesion."""

SMALL = 2.0
"""Factor by which a small lesion must score above one that a threshold of the whole image finds."""


def find_lesion(rgb: Floats) -> tuple[Mask, Floats]:
    """Return the lesion's mask [S, S], empty where none stands out, and the skin's Lab colour, for an image in 0..1.

    Three candidates are scored by their contour: against even skin, against a bowl of skin, and a small lesion.
    """
    lab = without_hair(working_lab(rgb))
    view = in_view(lab[..., 0])
    skin = surroundings(lab, lab[..., 0], view)
    weights = np.array([LIGHTNESS_WEIGHT, 1.0, 1.0])
    features, even = lab * weights, skin * weights
    edges = edge_strength(ndimage.gaussian_filter(features, (1.5, 1.5, 0)), view)
    scorer = RegionScorer(edges, AREA_POWER, contact=1.0)
    round_skin = bowl(features, even, view)
    best = max((segment(features, model, view, MIN_CONTRAST) for model in (even, round_skin)), key=scorer.score)
    if best.any():
        small = best_level_set(contrast(features, round_skin), view, replace(scorer, contact=0.2), around=SURROUNDINGS)
        best = small.mask if small.score > SMALL * scorer.score(best) else best
    return best, skin


def measure_dermoscopy(image: NDArray[np.uint8], detail: Detail = "plain") -> Attributes:
    """Measure the visual attributes of one image from its pixels alone.

    Args:
        image: uint8 [S, S, 3], the square that the generator sees.
        detail: ``rich`` describes skin and picture in place of the background.

    Returns:
        Attributes of the prompt set ``dermoscopy`` of that detail; none of a lesion when none stands out.

    Raises:
        ImageDecodeError: not a square uint8 RGB image.
    """
    rgb = working_rgb(image)
    mask, skin = find_lesion(rgb)
    around = scene_attributes(rgb, mask, skin) if detail == "rich" else {"background": nearest_name(skin, BACKGROUNDS)}
    return _lesion_attributes(rgb, mask) | around


def _lesion_attributes(rgb: Floats, mask: Mask) -> Attributes:
    if not mask.any():
        return {}
    even = working_lab(even_colour(rgb, mask, COLOUR_SCALE))
    return {
        "shape": _shape_word(axis_ratio(mask)),
        "outline": "irregular" if roughness(mask) >= IRREGULAR_FROM else "smooth",
        "size": float(mask.mean()),
        "colours": colour_set(even[plain(even, core(mask, 2))], COLOURS, NAMED_FROM),
        "texture": _texture_word(*fine_structure(working_lab(rgb), mask)),
    }


def _shape_word(ratio: float) -> str:
    return "round" if ratio < OVAL_FROM else "oval" if ratio < ELONGATED_FROM else "elongated"


def _texture_word(energy: float, coherence: float) -> str:
    if energy < TEXTURED_FROM:
        return "uniform"
    return "streaked" if coherence >= STREAKED_FROM else "speckled"
