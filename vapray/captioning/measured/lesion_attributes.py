"""Attributes that skin lesions and polyps share: shape, outline, size, colours and texture."""

from dataclasses import dataclass

from vapray.captioning.attributes import Attributes
from vapray.captioning.measured.frame import Floats, Mask, working_lab
from vapray.captioning.measured.palette import Palette, colour_set
from vapray.captioning.measured.silhouette import axis_ratio, roughness
from vapray.captioning.measured.surface import core, even_colour, fine_structure, plain

OVAL_FROM = 1.25
ELONGATED_FROM = 1.8
COLOUR_SCALE = 2.0
"""Gaussian scale in pixels over which a surface's texture is evened out before its colours are named."""


@dataclass(frozen=True)
class Thresholds:
    """Where one word ends and the next begins."""

    outline: float
    """Roughness from which an outline is irregular."""
    texture_energy: float
    """Fine structure from which a surface is not uniform."""
    coherence: float
    """Direction preference from which that structure is streaks rather than speckles."""
    colour_share: float
    """Share of the lesion that a colour must cover to be named."""


def lesion_attributes(rgb: Floats, mask: Mask, colours: Palette, thresholds: Thresholds) -> Attributes:
    """Describe the masked region of a [S, S, 3] picture in 0..1; empty for an empty mask."""
    if not mask.any():
        return {}
    even = working_lab(even_colour(rgb, mask, COLOUR_SCALE))
    return {
        "shape": shape_word(axis_ratio(mask)),
        "outline": "irregular" if roughness(mask) >= thresholds.outline else "smooth",
        "size": float(mask.mean()),
        "colours": colour_set(even[plain(even, core(mask, 2))], colours, thresholds.colour_share),
        "texture": texture_word(*fine_structure(working_lab(rgb), mask), thresholds),
    }


def shape_word(ratio: float) -> str:
    """Name an axis ratio."""
    return "round" if ratio < OVAL_FROM else "oval" if ratio < ELONGATED_FROM else "elongated"


def texture_word(energy: float, coherence: float, thresholds: Thresholds) -> str:
    """Name a surface."""
    if energy < thresholds.texture_energy:
        return "uniform"
    return "streaked" if coherence >= thresholds.coherence else "speckled"
