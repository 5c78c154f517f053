"""Classes of lesions or polyps as distributions over attributes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vapray.data.phantom.canvas import Attributes
from vapray.data.phantom.outline import largest_size

ALL_SHAPES = ("round", "oval", "elongated")
ALL_TEXTURES = ("uniform", "speckled", "streaked")


@dataclass(frozen=True)
class LesionClass:
    """Distribution of the attributes of one class; each field is drawn uniformly from its choices.

    Attributes:
        colour_sets: possible sets of colours of one lesion.
        size: smallest and largest share of the square; the largest is limited by the shape.
    """

    shapes: tuple[str, ...]
    outlines: tuple[str, ...]
    size: tuple[float, float]
    colour_sets: tuple[tuple[str, ...], ...]
    textures: tuple[str, ...]


def draw_lesion_attributes(
    classes: Mapping[str, LesionClass],
    hidden_on: Mapping[str, frozenset[str]],
    class_name: str,
    rng: np.random.Generator,
) -> Attributes:
    """Draw the attributes of one lesion.

    Args:
        classes: classes of the modality.
        hidden_on: for each background the colours that are invisible on it; such pairs are not drawn.
        class_name: class of the lesion.
        rng: random generator.
    """
    look = classes[class_name]
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
