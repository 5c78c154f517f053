"""Rich attributes of dermoscopy: place, contrast and sharpness of the lesion, and the picture around it."""

import numpy as np
from scipy import ndimage

from vapray.captioning.attributes import Attributes
from vapray.captioning.measured.border import GAP, edge_words, place_word
from vapray.captioning.measured.clutter import corners_word, find_hair, hair_word, lesions_word
from vapray.captioning.measured.frame import Floats, Mask, working_lab
from vapray.captioning.measured.lesion import bowl, in_view, without_hair
from vapray.captioning.measured.skin import hue_word, lightness_word

MIN_SKIN = 0.03
"""Share of the square below which the skin in view says less than the border of the picture."""


def scene_attributes(rgb: Floats, mask: Mask, border: Floats) -> Attributes:
    """Measure what rich captions say beyond the plain ones.

    Args:
        rgb: [S, S, 3] in 0..1.
        mask: [S, S], the lesion; without one, only the skin and the picture are described.
        border: [3], the skin's Lab colour at the border of the picture.

    Returns:
        Attributes of the rich part of the prompt set ``dermoscopy``; those that are out of view are absent.
    """
    lab = working_lab(rgb)
    bare = without_hair(lab)
    view, hair = in_view(bare[..., 0]), find_hair(lab)
    around = ~ndimage.binary_dilation(mask, iterations=GAP)
    skin = view & around
    colour = np.median(bare[skin], axis=0) if skin.mean() >= MIN_SKIN else border
    found: Attributes = {
        "skin_hue": hue_word(colour),
        "skin_lightness": lightness_word(float(colour[0])),
        "corners": corners_word(bare[..., 0], around, float(colour[0])),
    }
    if hairy := hair_word(hair, skin):
        found["hair"] = hairy
    if not mask.any():
        return found
    clear = skin & ~ndimage.binary_dilation(hair, iterations=2)
    found["lesions"] = lesions_word(bare, mask, clear, bowl(bare, colour, view))
    return found | _lesion_in_view(bare, mask, view)


def _lesion_in_view(lab: Floats, mask: Mask, view: Mask) -> Attributes:
    found: Attributes = {}
    if place := place_word(mask):
        found["place"] = place
    if words := edge_words(lab, mask, view):
        found["contrast"], found["sharpness"] = words
    return found
