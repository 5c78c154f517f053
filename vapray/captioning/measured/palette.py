"""Colours of a region by the nearest named reference colour in Lab."""

from collections.abc import Mapping

import numpy as np

from vapray.captioning.measured.frame import Floats

Palette = Mapping[str, tuple[tuple[float, float, float], ...]]
"""Name -> reference colours in Lab."""


def nearest_names(lab_pixels: Floats, palette: Palette) -> dict[str, float]:
    """Return each name's share of the [N, 3] pixels."""
    names = [name for name, references in palette.items() for _ in references]
    references = np.array([reference for entry in palette.values() for reference in entry])
    nearest = ((lab_pixels[:, None] - references) ** 2).sum(-1).argmin(1)
    shares = dict.fromkeys(palette, 0.0)
    for index, count in enumerate(np.bincount(nearest, minlength=len(names))):
        shares[names[index]] += count / len(lab_pixels)
    return shares


def colour_set(lab_pixels: Floats, palette: Palette, minimum: float) -> tuple[str, ...]:
    """Return the names with at least the share ``minimum``, or the commonest one alone; sorted."""
    shares = nearest_names(lab_pixels, palette)
    present = [name for name, share in shares.items() if share >= minimum]
    return tuple(sorted(present or [max(shares, key=lambda name: shares[name])]))


def nearest_name(lab: Floats, palette: Palette) -> str:
    """Return the name nearest to one Lab colour."""
    return next(name for name, share in nearest_names(lab[None], palette).items() if share > 0)
