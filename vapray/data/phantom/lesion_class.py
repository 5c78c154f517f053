"""A class of lesions or polyps as a distribution over attributes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vapray.data.phantom.canvas import Attributes
from vapray.data.phantom.outline import largest_size

ALL_SHAPES = ("round", "oval", "elongated")
ALL_TEXTURES = ("uniform", "speckled", "streaked")


@dataclass(frozen=True)
class LesionClass:
    """What the pictures of one class may look like; each field is drawn uniformly from its choices.

    Attributes:
        colour_sets: the colours of one lesion.
        size: smallest and largest share of the square; the largest is cut to what the shape allows.
    """

    shapes: tuple[str, ...]
    outlines: tuple[str, ...]
    size: tuple[float, float]
    colour_sets: tuple[tuple[str, ...], ...]
    textures: tuple[str, ...]


def draw_lesion_attributes(
    look: LesionClass, hidden_on: Mapping[str, frozenset[str]], rng: np.random.Generator
) -> Attributes:
    """One lesion's attributes.

    Args:
        look: the class.
        hidden_on: for each background the colours that would not be seen on it; such pairs are not drawn.
        rng: the source of chance.
    """
    shape, outline = str(rng.choice(look.shapes)), str(rng.choice(look.outlines))
    colours = look.colour_sets[rng.integers(len(look.colour_sets))]
    backgrounds = [name for name, hidden in hidden_on.items() if not hidden & set(colours)]
    smallest, largest = look.size
    return {
        "shape": shape,
        "outline": outline,
        "size": round(float(rng.uniform(smallest, min(largest, largest_size(shape, outline)))), 4),
        "colours": tuple(sorted(colours)),
        "texture": str(rng.choice(look.textures)),
        "background": str(rng.choice(backgrounds)),
    }
