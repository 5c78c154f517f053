"""Words for hue and lightness of the skin in a picture; light and camera are part of both."""

import numpy as np
from numpy.typing import NDArray

GREYISH_BELOW = 11.0
"""Chroma in Lab below which skin is greyish."""

PINKISH_FROM, ORANGE_FROM = -8.0, 15.0
"""Hue angles in Lab, in degrees, from which skin is pinkish rather than lilac, and peach or beige."""

PEACH_FROM = 24.0
"""Chroma from which orange skin is peach rather than beige."""

LIGHTNESS = {"dark": 0.0, "dusky": 64.5, "middle": 69.0, "light": 72.5, "very light": 76.0}
"""Lightness in Lab from which each word holds; each fifth of real images has one word."""


def hue_word(lab: NDArray[np.float64]) -> str:
    """Return the word for the hue of a Lab colour [3] of skin."""
    chroma, angle = np.hypot(lab[1], lab[2]), np.degrees(np.arctan2(lab[2], lab[1]))
    if chroma < GREYISH_BELOW:
        return "greyish"
    if angle < ORANGE_FROM:
        return "pinkish" if angle >= PINKISH_FROM else "lilac"
    return "peach" if chroma >= PEACH_FROM else "beige"


def lightness_word(lightness: float) -> str:
    """Return the word for a lightness of 0..100."""
    return [word for word, least in LIGHTNESS.items() if lightness >= least][-1]
