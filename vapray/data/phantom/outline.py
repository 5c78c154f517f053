"""Outlines of lesions and polyps: an ellipse with a wavy edge, of a given area, inside the square.

Constants, in shares of the square's side unless said otherwise:
``AXIS_RATIO`` of the fitted ellipse; ``WAVINESS`` deviation of the radius, relative; ``WAVES`` per turn;
``MARGIN`` kept free inside the square; ``JITTER`` of the position; ``LARGEST`` area that fits, by shape,
as a share of the square (an irregular outline gets ``IRREGULAR_ROOM`` of it).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vapray.data.phantom.canvas import Field, rotate

AXIS_RATIO = {"round": (1.0, 1.14), "oval": (1.36, 1.65), "elongated": (1.95, 2.3)}
WAVINESS = {"smooth": (0.0, 0.012), "irregular": (0.1, 0.125)}
WAVES = {"smooth": (3, 4), "irregular": (3, 5)}
LARGEST = {"round": 0.5, "oval": 0.42, "elongated": 0.3}
IRREGULAR_ROOM = 0.85
MARGIN = 0.015
JITTER = 0.03
_ANGLES = np.linspace(0, 2 * np.pi, 360, endpoint=False)


@dataclass(frozen=True)
class Outline:
    """Radius by angle, in the outline's own axes, in shares of the side; the same in every view."""

    radii: NDArray[np.float64]


@dataclass(frozen=True)
class Placed:
    """Placed outline, all fields [H, W].

    Attributes:
        x: first coordinate in the outline's own axes, in shares of the side.
        y: second coordinate in the outline's own axes, in shares of the side.
        depth: 1 in the centre, 0 on the edge, negative outside.
        distance: distance to the edge along the radius, in shares of the side, positive inside.
    """

    x: Field
    y: Field
    depth: Field
    distance: Field


def largest_size(shape: str, outline: str) -> float:
    """Compute the largest area, as a share of the square, that surely fits with this shape."""
    return LARGEST[shape] * (IRREGULAR_ROOM if outline == "irregular" else 1.0)


def make_outline(shape: str, outline: str, size: float, rng: np.random.Generator) -> Outline:
    """Draw an outline whose area is ``size`` of the square."""
    ratio = rng.uniform(*AXIS_RATIO[shape])
    radii = 1 / np.hypot(np.cos(_ANGLES) / ratio, np.sin(_ANGLES))
    low, high = WAVES[outline]
    waves = np.arange(low, high + 1)
    heights = rng.uniform(0.5, 1, len(waves)) / np.sqrt(waves)
    ripple = np.sin(waves * _ANGLES[:, None] + rng.uniform(0, 2 * np.pi, len(waves))) @ heights
    radii *= np.exp(ripple / ripple.std() * rng.uniform(*WAVINESS[outline]))
    area = 0.5 * np.mean(radii**2) * 2 * np.pi
    return Outline(radii * np.sqrt(size / area))


def place_outline(outline: Outline, x: Field, y: Field, rng: np.random.Generator) -> Placed:
    """Turn and move the outline at random, inside the square, and measure every pixel against it."""
    turn, centre = _choose_place(outline.radii, rng)
    own_x, own_y = rotate(x - np.float32(centre[0]), y - np.float32(centre[1]), turn)
    angles = np.arctan2(own_y, own_x)
    closed = np.append(outline.radii, outline.radii[0])
    radius = np.interp(angles % (2 * np.pi), np.append(_ANGLES, 2 * np.pi), closed).astype(np.float32)
    reach = np.hypot(own_x, own_y)
    return Placed(own_x, own_y, 1 - reach / radius, radius - reach)


def _choose_place(radii: NDArray[np.float64], rng: np.random.Generator) -> tuple[float, NDArray[np.float64]]:
    """Choose the first of 12 random turns that leaves space in the square, else the tightest, and a centre."""
    turns = rng.uniform(0, 2 * np.pi, 12)
    directions = _ANGLES[None, :] + turns[:, None]
    points = np.stack([radii * np.cos(directions), radii * np.sin(directions)], axis=1)
    low, high = points.min(axis=2), points.max(axis=2)
    span = (high - low).max(axis=1)
    fits = np.flatnonzero(span <= 1 - 2 * MARGIN)
    chosen = int(fits[0]) if len(fits) else int(span.argmin())
    room_low, room_high = -0.5 + MARGIN - low[chosen], 0.5 - MARGIN - high[chosen]
    middle = (room_low + room_high) / 2
    slack = np.maximum((room_high - room_low) / 2, 0)
    wanted = rng.uniform(-JITTER, JITTER, 2)
    return float(turns[chosen]), np.clip(wanted, middle - slack, middle + slack)
