"""Finding the lung fields of a frontal chest X-ray, also where an opacity hides part of one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import convex_hull_image

from vapray.captioning.measured.frame import SIDE, Floats, Mask
from vapray.captioning.measured.level_sets import Judge, Region, best_level_set, edge_strength

MIN_RANGE = 0.1
"""Brightness range below which a picture shows nothing."""

MIN_STANDING = 0.08
"""A lung that stands out less is a guess: phantoms reach twice this, and clear films do."""

MIN_LEVEL_ROWS = 0.5
"""Share of the shorter lung's rows that lie beside the other lung; less, and one of the two is something else."""

SMOOTH = 1.5
"""Gaussian scale in pixels that softens ribs but not the lung's own edge."""

SURROUNDINGS = 16.0
"""Gaussian scale in pixels of the brightness that a lung is darker than: about half a lung's width."""

AREA_POWER = 0.4
"""A lung has ribs and vessels, whose edges must not outweigh its own."""

AIR = 0.5
"""Of Otsu's threshold of the whole film: what is darker and touches the frame is air."""

ARMS = 0.12
"""Share of the width at either side in which lungs become the less likely, the nearer the frame: there are arms."""

BRIDGE = 2
"""Coarse pixels: what joins a lung to the armpit or the windpipe is thinner than twice this."""

HIDDEN_BASE = 7
"""Rows by which one lung must end above the other to count as hidden from below."""

_COLUMNS = np.arange(SIDE)
_INNER: Floats = np.broadcast_to(np.minimum((_COLUMNS + 1) * (SIDE - _COLUMNS) / (ARMS * SIDE**2), 1), (SIDE, SIDE))


@dataclass(frozen=True)
class LungFields:
    """Lung fields [S, S] at the viewer's left and right, opacities included, the heart left out."""

    left: Mask
    right: Mask
    midline: float
    """Column of the spine."""
    reach: tuple[float, float]
    """Columns from the midline to the outer edge of the left and of the right field."""
    heart_width: float
    """Share of the square's width."""


def lung_fields(brightness: Floats) -> LungFields | None:
    """Find both lung fields in a [S, S] picture in 0..1; None where there are no two dark fields."""
    if np.ptp(brightness) < MIN_RANGE:
        return None
    found = _find_both(brightness)
    if not _are_lungs(*found):
        return None
    left, right = found[0].mask, found[1].mask
    midline = _midline(left, right)
    reach = _reach(left, midline), _reach(right, midline)
    heart, heart_width = _heart(left, right, midline)
    full_left = _completed(left, _mirrored(right, midline, reach[0] / reach[1]), heart)
    full_right = _completed(right, _mirrored(left, midline, reach[1] / reach[0]), heart)
    return LungFields(full_left & (midline > _COLUMNS), full_right & (midline < _COLUMNS), midline, reach, heart_width)


def _find_both(brightness: Floats) -> tuple[Region, Region]:
    """Return what stands out best as darker than its surroundings on either side of the spine."""
    smooth = ndimage.gaussian_filter(brightness, SMOOTH)
    body = ~_air(smooth)
    judge = Judge(edge_strength(smooth[..., None], body), AREA_POWER, likely=_INNER)
    spine = _spine(smooth)
    sides = body & (spine > _COLUMNS), body & (spine < _COLUMNS)
    left, right = (best_level_set([-smooth], side, judge, around=SURROUNDINGS, opening=BRIDGE) for side in sides)
    return left, right


def _are_lungs(left: Region, right: Region) -> bool:
    rows = left.mask.any(axis=1), right.mask.any(axis=1)
    beside = (rows[0] & rows[1]).sum() >= MIN_LEVEL_ROWS * max(1, min(rows[0].sum(), rows[1].sum()))
    return bool(min(left.standing, right.standing) >= MIN_STANDING and beside)


def _spine(smooth: Floats) -> int:
    """Return the brightest column of the middle third, away from neck and belly."""
    third = SIDE // 3
    columns = ndimage.gaussian_filter1d(smooth[SIDE // 5 : -SIDE // 5].mean(axis=0), 3)
    return third + int(columns[third:-third].argmax())


def _air(smooth: Floats) -> Mask:
    """Return the dark around the body, which touches the frame."""
    labels, _ = ndimage.label(smooth < AIR * threshold_otsu(smooth))
    rim = np.concatenate([labels[:6].ravel(), labels[:, 0], labels[:, -1]])
    return ndimage.binary_dilation(np.isin(labels, np.unique(rim[rim > 0])), iterations=3)


def _midline(left: Mask, right: Mask) -> float:
    """Return the middle between the lungs' inner edges, over the rows that hold both."""
    rows = np.flatnonzero(left.any(axis=1) & right.any(axis=1))
    if not len(rows):
        return SIDE / 2 - 0.5
    upper = rows[: max(1, len(rows) // 2)]
    return float(np.median([(_COLUMNS[left[r]].max() + _COLUMNS[right[r]].min()) / 2 for r in upper]))


def _reach(lung: Mask, midline: float) -> float:
    columns = np.flatnonzero(lung.any(axis=0))
    return float(np.abs(columns - midline).max())


def _heart(left: Mask, right: Mask, midline: float) -> tuple[Mask, float]:
    """Return the mediastinum with the heart as a mask, and the heart's width as a share of the square's."""
    mask = np.zeros_like(left)
    gaps = []
    for row in np.flatnonzero(left.any(axis=1) & right.any(axis=1)):
        inner = _COLUMNS[left[row]].max() + 1, _COLUMNS[right[row]].min()
        mask[row, inner[0] : inner[1]] = True
        gaps.append(inner[1] - inner[0])
    lower = np.flatnonzero(left.any(axis=1)).max() - np.flatnonzero(right.any(axis=1)).max()
    # A lung that ends early is hidden from below, and the heart's edge with it: the other side is doubled.
    if abs(lower) > HIDDEN_BASE or not gaps:
        return mask, 2 * _half_width(left if lower > 0 else right, midline) / SIDE
    return mask, float(np.percentile(_lower_part(np.array(gaps)), 90) / SIDE)


def _half_width(lung: Mask, midline: float) -> float:
    """Return how far the heart pushes the lung's inner edge from the midline, in columns."""
    rows = _lower_part(np.flatnonzero(lung.any(axis=1)))
    return float(np.percentile([np.abs(_COLUMNS[lung[row]] - midline).min() - 0.5 for row in rows], 90))


def _lower_part(by_row: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the lower two thirds, without the last rows, where the diaphragm cuts the lung."""
    return by_row[len(by_row) // 3 : max(len(by_row) // 3 + 1, int(len(by_row) * 0.95))]


def _mirrored(lung: Mask, midline: float, stretch: float) -> Mask:
    """Return the lung as it would look on the other side, its reach times ``stretch``."""
    source = np.rint(midline - (_COLUMNS - midline) / stretch).astype(int)
    known = (source >= 0) & (source < SIDE)
    return lung[:, np.clip(source, 0, SIDE - 1)] & known


def _completed(lung: Mask, mirrored: Mask, heart: Mask) -> Mask:
    """Close what an opacity hides: the lung's own bays, and what the mirrored lung shows."""
    base = int(np.flatnonzero(lung.any(axis=1)).max())
    if int(np.flatnonzero(mirrored.any(axis=1)).max()) - base <= HIDDEN_BASE:
        mirrored = mirrored & (np.arange(SIDE)[:, None] <= base)
    joint: Mask = ndimage.binary_closing(np.pad(lung | mirrored, 8), iterations=6)[8:-8, 8:-8]
    return ndimage.binary_opening(
        ndimage.binary_fill_holes(joint) & convex_hull_image(lung | mirrored) & ~heart, iterations=2
    )
