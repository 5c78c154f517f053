"""Colonoscopic phantoms: one polyp on the bowel wall, in the light of the endoscope.

Ranges (shares of the square's side, brightness of 255, counts): ``FOLDS`` waves per side, ``FOLD_DEPTH``
relative brightness; ``VESSELS`` thin lines, ``VESSEL_OPACITY``; ``LUMEN_SHADE`` relative darkness of the
lumen, ``LUMEN_RADIUS``, ``LUMEN_DISTANCE`` from the centre, on the side away from the polyp; ``DOME``
relative brightness at rim and top; ``SHADOW`` relative darkness cast beside the polyp; ``GLARE`` count of
highlights, ``GLARE_RADIUS``; ``VIEW_RADIUS`` of the endoscope's round field; ``BORDER`` softness of the
polyp's edge; ``LIGHT`` exposure factor; ``NOISE`` deviation of the grain. ``HIDDEN_ON``: colours that are not
drawn on a background because they would not be seen. Sizes, positions and textures: see ``outline`` and
``surface``.
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
    rotate,
    smooth_field,
    soft_step,
)
from vapray.data.phantom.lesion import Lesion, draw_lesion
from vapray.data.phantom.lesion_class import ALL_SHAPES, ALL_TEXTURES, LesionClass, draw_lesion_attributes

FOLDS = (1.5, 3.0)
FOLD_DEPTH = (0.06, 0.14)
VESSELS = (2, 6)
VESSEL_OPACITY = (0.12, 0.3)
LUMEN_SHADE = (0.35, 0.75)
LUMEN_RADIUS = (0.18, 0.28)
LUMEN_DISTANCE = (0.6, 0.75)
DOME = (0.86, 1.08)
SHADOW = (0.12, 0.3)
GLARE = (1, 3)
GLARE_RADIUS = (0.01, 0.022)
VIEW_RADIUS = (0.66, 0.69)
BORDER = (0.03, 0.05)
LIGHT = (0.95, 1.05)
NOISE = (1.5, 3.5)

COLOURS = {
    "pink": (240, 172, 176),
    "red": (192, 52, 50),
    "yellow": (220, 188, 96),
    "dark red": (112, 22, 32),
    "pale": (240, 222, 206),
}
BACKGROUNDS = {"pink mucosa": (222, 146, 134), "red mucosa": (184, 88, 76), "orange mucosa": (216, 136, 86)}
HIDDEN_ON = {
    "pink mucosa": frozenset({"pink"}),
    "red mucosa": frozenset({"red"}),
    "orange mucosa": frozenset[str](),
}
_VESSEL_COLOUR = (140, 40, 40)

CLASSES = {
    "Adenoma": LesionClass(
        shapes=ALL_SHAPES,
        outlines=("smooth", "irregular"),
        size=(0.07, 0.4),
        colour_sets=(("red",), ("dark red",), ("dark red", "red"), ("dark red", "pink")),
        textures=ALL_TEXTURES,
    ),
    "Hyperplastic": LesionClass(
        shapes=("round", "oval"),
        outlines=("smooth",),
        size=(0.05, 0.25),
        colour_sets=(("pale",), ("pale", "pink")),
        textures=("uniform", "speckled"),
    ),
    "Serrated": LesionClass(
        shapes=ALL_SHAPES,
        outlines=("irregular",),
        size=(0.08, 0.4),
        colour_sets=(("yellow",), ("pale", "yellow"), ("red", "yellow"), ("pink", "yellow")),
        textures=ALL_TEXTURES,
    ),
}


def _paint(background: str, polyp: Lesion, x: Field, y: Field, rng: np.random.Generator) -> ImageArray:
    wall = np.asarray(BACKGROUNDS[background], np.float32)
    image: Field = wall * _fold_wall(x, y, polyp, rng)[..., None]
    vessels = draw_hairs(x, y, rng, count=int(rng.integers(*VESSELS)), width=0.012, bend=1.0)
    image = blend(image, np.asarray(_VESSEL_COLOUR, np.float32), vessels * rng.uniform(*VESSEL_OPACITY))
    image = _raise_polyp(image, polyp, rng)
    image = blend(image, np.full(3, 250, np.float32), _draw_glare(x, y, polyp, rng))
    return _photograph(image, x, y, rng)


def _fold_wall(x: Field, y: Field, polyp: Lesion, rng: np.random.Generator) -> Field:
    """Compute the brightness factor of the wall: folds curved around a dark lumen."""
    centre_x, centre_y = _find_centre(polyp, x, y)
    away = np.arctan2(-centre_y, -centre_x) + rng.uniform(-0.5, 0.5)
    reach = rng.uniform(*LUMEN_DISTANCE)
    distance = np.hypot(x - np.float32(reach * np.cos(away)), y - np.float32(reach * np.sin(away)))
    bent = distance + np.float32(0.05) * smooth_field(x, y, rng, cycles=2, waves=3)
    wave = np.sin(bent * np.float32(2 * np.pi * rng.uniform(*FOLDS)) + np.float32(rng.uniform(0, 6.28)))
    # A fold has a broad lit back and a narrow shaded valley.
    folds = 1 + np.float32(rng.uniform(*FOLD_DEPTH)) * (1 - (1 - wave) ** 2 * np.float32(0.75))
    radius = rng.uniform(*LUMEN_RADIUS)
    return folds * (1 - np.float32(rng.uniform(*LUMEN_SHADE)) * soft_step(radius - bent, 0.2))


def _find_centre(polyp: Lesion, x: Field, y: Field) -> tuple[float, float]:
    return float((x * polyp.mask).sum() / polyp.mask.sum()), float((y * polyp.mask).sum() / polyp.mask.sum())


def _raise_polyp(image: Field, polyp: Lesion, rng: np.random.Generator) -> Field:
    """Draw the polyp on the wall as a dome that is lit from one side and casts a shadow to the other."""
    depth = np.clip(polyp.placed.depth, 0, 1)
    side = rotate(polyp.placed.x, polyp.placed.y, rng.uniform(0, 2 * np.pi))[0]
    lit = side / (np.hypot(polyp.placed.x, polyp.placed.y) + np.float32(1e-3))
    shadow = soft_step(polyp.placed.distance + np.float32(0.05), 0.09) * np.clip(lit, 0, 1)
    image = image * (1 - np.float32(rng.uniform(*SHADOW)) * shadow)[..., None]
    dome = DOME[0] + (DOME[1] - DOME[0]) * np.sqrt(depth) - np.float32(0.06) * lit * (1 - depth)
    return blend(image, polyp.surface * dome[..., None], soft_step(polyp.placed.distance, rng.uniform(*BORDER)))


def _draw_glare(x: Field, y: Field, polyp: Lesion, rng: np.random.Generator) -> Field:
    """Draw the opacity of small wet highlights: the first on the polyp, the others anywhere."""
    cover = np.zeros(polyp.mask.shape, np.float32)
    centre = np.array(_find_centre(polyp, x, y))
    for number in range(int(rng.integers(GLARE[0], GLARE[1] + 1))):
        spot = centre + rng.uniform(-0.06, 0.06, 2) if number == 0 else rng.uniform(-0.42, 0.42, 2)
        along, across = rotate(x - np.float32(spot[0]), y - np.float32(spot[1]), rng.uniform(0, np.pi))
        reach = np.hypot(along * np.float32(rng.uniform(0.5, 1)), across)
        cover = np.maximum(cover, soft_step(np.float32(rng.uniform(*GLARE_RADIUS)) - reach, 0.012))
    return cover * np.float32(0.9)


def _photograph(image: Field, x: Field, y: Field, rng: np.random.Generator) -> ImageArray:
    """Apply the light falloff, the endoscope's round field and grain."""
    light = rng.uniform(*LIGHT) * darken_corners(x, y, 0.3)
    field = soft_step(np.float32(rng.uniform(*VIEW_RADIUS)) - np.hypot(x, y), 0.015)
    return expose(image * (light * field)[..., None] + 6, rng, noise=rng.uniform(*NOISE))


draw_attributes = partial(draw_lesion_attributes, CLASSES, HIDDEN_ON)
draw = partial(draw_lesion, COLOURS, _paint)
