"""Dermoscopic phantoms: one pigmented or vascular lesion on skin, seen through an immersion lens.

Ranges (shares of the square's side, brightness of 255, counts): ``HAIRS`` per image, ``HAIR_WIDTH``,
``HAIR_OPACITY``; ``BORDER`` softness of the lesion's edge; ``CORNER_SHADE`` relative darkening of the
corners; ``SKIN_MOTTLE`` slow brightness waves of the skin; ``LIGHT`` exposure factor; ``NOISE`` deviation of
the grain. ``HIDDEN_ON``: lesion colours that are not drawn on a background because they would not be seen.
Sizes, positions and textures: see ``outline`` and ``surface``.
"""

from functools import partial

import numpy as np

from vapray.data.phantom.canvas import (
    Field,
    ImageArray,
    blend,
    darken_corners,
    draw_hairs,
    expose,
    smooth_field,
    soft_step,
)
from vapray.data.phantom.lesion import Lesion, draw_lesion
from vapray.data.phantom.lesion_class import ALL_SHAPES, ALL_TEXTURES, LesionClass, draw_lesion_attributes

HAIRS = (0, 2)
HAIR_WIDTH = (0.008, 0.014)
HAIR_OPACITY = (0.15, 0.35)
HAIR_COLOUR = (52, 38, 32)
BORDER = (0.05, 0.08)
CORNER_SHADE = (0.05, 0.2)
SKIN_MOTTLE = 3.0
LIGHT = (0.94, 1.04)
NOISE = (1.5, 3.5)

COLOURS = {
    "light brown": (168, 110, 66),
    "dark brown": (98, 56, 34),
    "red": (172, 46, 54),
    "blue-grey": (100, 116, 144),
    "black": (34, 28, 30),
    "white": (224, 214, 214),
}
BACKGROUNDS = {"pale skin": (238, 206, 190), "tan skin": (216, 170, 136), "brown skin": (166, 118, 90)}
HIDDEN_ON = {
    "pale skin": frozenset[str](),
    "tan skin": frozenset[str](),
    "brown skin": frozenset({"light brown"}),
}

CLASSES = {
    "MEL": LesionClass(
        shapes=ALL_SHAPES,
        outlines=("irregular",),
        size=(0.12, 0.5),
        colour_sets=(
            ("black", "dark brown"),
            ("black", "blue-grey"),
            ("black", "blue-grey", "dark brown"),
        ),
        textures=ALL_TEXTURES,
    ),
    "NV": LesionClass(
        shapes=("round", "oval"),
        outlines=("smooth",),
        size=(0.05, 0.36),
        colour_sets=(("light brown",), ("dark brown",), ("dark brown", "light brown")),
        textures=ALL_TEXTURES,
    ),
    "BCC": LesionClass(
        shapes=ALL_SHAPES,
        outlines=("smooth", "irregular"),
        size=(0.07, 0.42),
        colour_sets=(("blue-grey",), ("blue-grey", "red"), ("blue-grey", "white")),
        textures=("uniform", "streaked"),
    ),
    "BKL": LesionClass(
        shapes=ALL_SHAPES,
        outlines=("smooth", "irregular"),
        size=(0.08, 0.5),
        colour_sets=(
            ("light brown", "white"),
            ("dark brown", "white"),
        ),
        textures=("speckled", "streaked"),
    ),
    "VASC": LesionClass(
        shapes=("round", "oval"),
        outlines=("smooth",),
        size=(0.05, 0.36),
        colour_sets=(("red",), ("black", "red"), ("red", "white")),
        textures=("uniform", "speckled"),
    ),
}


def _paint(background: str, lesion: Lesion, x: Field, y: Field, rng: np.random.Generator) -> ImageArray:
    skin = np.asarray(BACKGROUNDS[background], np.float32)
    image = skin + SKIN_MOTTLE * smooth_field(x, y, rng, cycles=2)[..., None]
    image = blend(image, lesion.surface, soft_step(lesion.placed.distance, rng.uniform(*BORDER)))
    return _photograph(image, x, y, rng)


def _photograph(image: Field, x: Field, y: Field, rng: np.random.Generator) -> ImageArray:
    """Apply hairs, light, lens and grain."""
    hairs = draw_hairs(
        x, y, rng, count=int(rng.integers(HAIRS[0], HAIRS[1] + 1)), width=rng.uniform(*HAIR_WIDTH), bend=0.6
    )
    image = blend(image, np.asarray(HAIR_COLOUR, np.float32), hairs * rng.uniform(*HAIR_OPACITY))
    light = rng.uniform(*LIGHT) * darken_corners(x, y, rng.uniform(*CORNER_SHADE))
    return expose(image * light[..., None], rng, noise=rng.uniform(*NOISE))


draw_attributes = partial(draw_lesion_attributes, CLASSES, HIDDEN_ON)
draw = partial(draw_lesion, COLOURS, _paint)
