"""Segmentation by level sets: among many candidate regions, find the one whose contour stands out most.

A threshold for the whole image fails where light falls off or skin is mottled. So every level of a field offers its
connected regions, and each is scored by the edges along its contour.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vapray.captioning.measured.frame import SIDE, Floats, Mask
from vapray.captioning.measured.surface import local_mean

STEP = 2
"""Candidates are compared at half the side: a quarter of the work, and fields are smoother than that."""

LEVELS = (0.4, 0.47, 0.54, 0.61, 0.68, 0.75, 0.82, 0.89, 0.96, 0.985)
"""Quantiles of the field at which level sets are taken."""

FULL_EDGE = 2.5
"""An edge of this many times the image's median gradient counts for two thirds of a full one; noise for little."""

FILL_POWER = 4.0
"""Penalty on bays, arms and bridges to neighbours."""

MIN_AREA, MAX_AREA = 0.004, 0.45
"""Shares of the square between which a region is a candidate: smaller ones are noise, larger ones the background."""


Box = tuple[slice, slice]
Labels = NDArray[np.int32]
Pixels = TypeVar("Pixels", Floats, Mask)


@dataclass(frozen=True)
class Region:
    """A mask [S, S] without holes and its score, from 0 (does not stand out)."""

    mask: Mask
    score: float


WHOLE: Box = np.s_[:, :]
NOTHING = Region(np.zeros((SIDE, SIDE), bool), 0.0)


@dataclass(frozen=True)
class RegionScorer:
    """Score of candidate regions.

    Attributes:
        edges: [S, S] of ``edge_strength``.
        area_power: preference for the larger of two regions with equal edges: a core has an edge too.
        contact: largest share of a contour on the rim of the view, where its edge cannot be seen.
    """

    edges: Floats
    area_power: float
    contact: float

    def score(self, region: Mask, box: Box = WHOLE) -> float:
        """Score a region without holes, cut out of the image by ``box``: edges, ellipse fill, area; 0 for none."""
        if not region.any():
            return 0.0
        rim = self.edges[box][region & ~ndimage.binary_erosion(region)]
        if (rim == 0).mean() > self.contact:
            return 0.0
        area = (region.sum() / self.edges.size) ** self.area_power
        return float(rim.mean() * _ellipse_fill(region) ** FILL_POWER * area)


def downsample(image: NDArray[Any]) -> Floats:
    """Average squares of STEP pixels of [S, S], so that a mirrored image stays the mirrored one."""
    side = SIDE // STEP
    return np.asarray(image.reshape(side, STEP, side, STEP).mean(axis=(1, 3)))


def upsample(image: Pixels) -> Pixels:
    """Repeat the pixels of a downsampled image."""
    return image.repeat(STEP, 0).repeat(STEP, 1)


def edge_strength(features: Floats, view: Mask) -> Floats:
    """Return how sharply [S, S, K] features change, 0..1 by the image's own measure; 0 along the rim of the view."""
    inside = ndimage.binary_erosion(view, iterations=2)
    down, across = np.gradient(features, axis=(0, 1))
    change = np.sqrt((down**2 + across**2).sum(axis=-1))
    usual = float(np.median(change[inside])) if inside.any() else 0.0
    return np.where(inside, 1 - np.exp(-((change / max(FULL_EDGE * usual, 1e-6)) ** 2)), 0.0)


@dataclass(frozen=True)
class _Candidate:
    """One label in one level set, and the upper bound of its score, holes aside."""

    bound: float
    labels: Labels
    number: int
    box: Box


def best_level_set(field: Floats, view: Mask, scorer: RegionScorer, *, around: float) -> Region:
    """Return the region within the view with the best score, among the level sets of a field less its surroundings.

    Args:
        field: [S, S], higher where the region is.
        view: where the region may be.
        scorer: of the regions.
        around: Gaussian scale in pixels of the surroundings.
    """
    scorer, allowed = replace(scorer, edges=downsample(scorer.edges)), downsample(view) > 0.5
    small = downsample(field)
    candidates: list[_Candidate] = []
    for labels in _level_sets(small - local_mean(small, allowed, around / STEP), allowed):
        candidates += _candidates(labels, scorer)
    best, found = 0.0, None
    for candidate in sorted(candidates, key=lambda one: -one.bound):
        if candidate.bound <= best:
            break
        region = ndimage.binary_fill_holes(candidate.labels[candidate.box] == candidate.number)
        score = scorer.score(region, candidate.box)
        if score > best:
            best, found = score, (candidate.box, region)
    return Region(_refined(field, view, *found), best) if found else NOTHING


def _level_sets(field: Floats, allowed: Mask) -> Iterator[Labels]:
    """Return the components of every level set; opening a field opens all its level sets at once."""
    diamond = ndimage.generate_binary_structure(2, 1)
    within = np.where(allowed, field, -np.inf)
    opened = ndimage.grey_opening(within, footprint=diamond, mode="constant", cval=-np.inf)
    for level in np.quantile(field[allowed], LEVELS) if allowed.any() else ():
        yield ndimage.label(opened > level)[0]


def _candidates(labels: Labels, scorer: RegionScorer) -> Iterator[_Candidate]:
    mask = labels > 0
    rim = mask & ~ndimage.binary_erosion(mask)
    area = np.bincount(labels.ravel()) / labels.size
    lengths = np.bincount(labels[rim], minlength=len(area))
    edges = np.bincount(labels[rim], scorer.edges[rim], len(area)) / np.maximum(lengths, 1)
    bounds = edges * area**scorer.area_power
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        if MIN_AREA < area[number] < MAX_AREA:
            yield _Candidate(float(bounds[number]), labels, number, box)


def _ellipse_fill(mask: Mask) -> float:
    """Return the area as a share of the ellipse with the same second moments; 1 for an ellipse."""
    rows, columns = np.nonzero(mask)
    minor, major = np.linalg.eigvalsh(np.cov(rows, columns) + np.eye(2) / 12)
    return min(1.0, len(rows) / (4 * np.pi * np.sqrt(minor * major)))


def _refined(field: Floats, view: Mask, box: Box, region: Mask) -> Mask:
    """Return the region at full resolution: pixels near it that are more like its inside than its outside."""
    whole = np.zeros((SIDE // STEP, SIDE // STEP), bool)
    whole[box] = region
    whole = upsample(whole)
    near = ndimage.binary_dilation(whole, iterations=2 * STEP) & view
    ring = near & ~ndimage.binary_dilation(whole, iterations=STEP)
    outside, inside = np.median(field[ring if ring.any() else near]), np.median(field[whole])
    full = ndimage.binary_fill_holes((field > outside + 0.5 * (inside - outside)) & near)
    return _largest(ndimage.binary_opening(full, iterations=STEP))


def _largest(mask: Mask) -> Mask:
    labels, count = ndimage.label(mask)
    return np.asarray(labels == 1 + int(np.bincount(labels.ravel())[1:].argmax()) if count else mask)
