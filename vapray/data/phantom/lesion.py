"""Lesion or polyp on the canvas: its position and its surface, and the drawing of one view."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from vapray.data.phantom.canvas import Attributes, Drawing, Field, ImageArray, Mask, make_grid
from vapray.data.phantom.outline import Placed, make_outline, place_outline
from vapray.data.phantom.surface import paint_rings, texture_factor

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class Lesion:
    """Placed lesion: ``mask`` bool [H, W], ``surface`` float [H, W, 3] of 255."""

    placed: Placed
    mask: Mask
    surface: Field


def make_lesion(
    attributes: Attributes,
    palette: Mapping[str, RGB],
    x: Field,
    y: Field,
    rng: np.random.Generator,
    lesion_seed: int | None,
) -> Lesion:
    """Draw edge and colour pattern from ``lesion_seed`` (None: from ``rng``) and the position from ``rng``.

    ``palette`` lists the colours from rim to centre; the first one present covers the largest area.
    """
    lesion_rng = rng if lesion_seed is None else np.random.default_rng(lesion_seed)
    size, names = attributes["size"], attributes["colours"]
    if not isinstance(size, float) or isinstance(names, str | float):
        raise TypeError(f"size {size!r} must be a float and colours {names!r} a tuple")
    outline = make_outline(str(attributes["shape"]), str(attributes["outline"]), size, lesion_rng)
    placed = place_outline(outline, x, y, rng)
    mask = placed.distance > 0
    colours = np.array([colour for name, colour in palette.items() if name in names], np.float32)
    surface = paint_rings(placed.x, placed.y, placed.depth, mask, colours, lesion_rng)
    texture = texture_factor(str(attributes["texture"]), placed.x, placed.y, lesion_rng)
    return Lesion(placed, mask, surface * texture[..., None])


def draw_lesion(
    palette: Mapping[str, RGB],
    paint: Callable[[str, Lesion, Field, Field, np.random.Generator], ImageArray],
    attributes: Attributes,
    rng: np.random.Generator,
    height: int,
    width: int,
    lesion_seed: int | None = None,
) -> Drawing:
    """Draw one view of a lesion or polyp.

    Args:
        palette: colours of the modality, from rim to centre.
        paint: draws the view from background, lesion, x, y and ``rng``.
        attributes: as from ``draw_lesion_attributes``.
        rng: view: position, turn, light, background, grain.
        height: image height, in pixels.
        width: image width, in pixels.
        lesion_seed: fixes edge and colours, so that two views show one lesion; None: from ``rng``.

    Returns:
        The image and the mask ``lesion``, whose share of the square is ``attributes["size"]``.
    """
    x, y = make_grid(height, width)
    lesion = make_lesion(attributes, palette, x, y, rng, lesion_seed)
    return Drawing(paint(str(attributes["background"]), lesion, x, y, rng), {"lesion": lesion.mask})
