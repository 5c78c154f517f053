"""Visual attributes of a polyp."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vapray.captioning.attributes import Attributes
from vapray.captioning.measured.frame import Floats, Mask, working_lab, working_rgb
from vapray.captioning.measured.lesion import in_view, segment, surroundings
from vapray.captioning.measured.lesion_attributes import Thresholds, lesion_attributes
from vapray.captioning.measured.palette import Palette, nearest_name

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

BRIGHTNESS_WEIGHT = 0.25
"""Of log brightness against log colour ratios: folds, lumen and light fall-off change the first alone."""

MIN_CONTRAST = 0.06


def find_polyp(rgb: Floats) -> tuple[Mask, Floats]:
    """Return the polyp's mask [S, S] and the RGB colour of the wall around it, for a picture in 0..1."""
    brightness = rgb.mean(axis=-1)
    view = in_view(100 * brightness)
    features = _colour_ratios(rgb)
    wall = surroundings(features, brightness, view)
    return segment(features, wall, view, MIN_CONTRAST), surroundings(rgb, brightness, view)


def _colour_ratios(rgb: Floats) -> Floats:
    logs = np.log(rgb + FLOOR)
    red, green, blue = (ndimage.gaussian_filter(logs[..., channel], 0.7) for channel in range(3))
    return np.stack([red - green, green - blue, BRIGHTNESS_WEIGHT * logs.mean(axis=-1)], axis=-1)


def measure_colonoscopy(image: NDArray[np.uint8]) -> Attributes:
    """Measure one endoscopic square; only the background when no polyp stands out."""
    rgb = working_rgb(image)
    mask, wall = find_polyp(rgb)
    background = nearest_name(working_lab(wall[None, None])[0, 0], BACKGROUNDS)
    return lesion_attributes(rgb, mask, COLOURS, THRESHOLDS) | {"background": background}
