"""One judge for whatever is looked for: of many candidate regions the one whose contour stands out wins.

A threshold for the whole picture fails where light falls off, where an arm is as dark as a lung, where skin is mottled.
So every level of a field offers its regions, and each is judged by what lies along its contour.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vapray.captioning.measured.frame import SIDE, Floats, Mask
from vapray.captioning.measured.surface import local_mean

STEP = 2
"""Candidates are compared at half the size: a quarter of the work, and fields are smoother than that."""

LEVELS = (0.4, 0.47, 0.54, 0.61, 0.68, 0.75, 0.82, 0.89, 0.96, 0.985)
"""Quantiles of a field whose level sets are looked at: a lung fills half its side, a polyp a hundredth of it."""

FULL_EDGE = 2.5
"""An edge of this many times the picture's median gradient counts for two thirds of a full one; noise for little."""

FILL_POWER = 4.0
"""How hard bays, arms and bridges to neighbours count against a region."""

MIN_AREA, MAX_AREA = 0.004, 0.45
"""Shares of the square between which a region is looked at: smaller ones are noise, larger ones the background."""


Box = tuple[slice, slice]
Labels = NDArray[np.int32]
Pixels = TypeVar("Pixels", Floats, Mask)


@dataclass(frozen=True)
class Region:
    """A mask [S, S] without holes and how well it stands out, from 0 (not at all)."""

    mask: Mask
    standing: float


WHOLE: Box = np.s_[:, :]
NOTHING = Region(np.zeros((SIDE, SIDE), bool), 0.0)


@dataclass(frozen=True)
class Judge:
    """What makes a good region.

    Attributes:
        edges: [S, S] of ``edge_strength``.
        area_power: how much of two regions with equal edges the larger is preferred: a core has an edge too.
        longest: largest ratio of its axes.
        contact: largest share of its contour along the rim of the view, where nothing shows what it borders on.
        likely: [S, S], how likely a pixel belongs to it by its place alone.
    """

    edges: Floats
    area_power: float
    longest: float = np.inf
    contact: float = 0.2
    likely: Floats = field(default_factory=lambda: np.ones((SIDE, SIDE)))

    def standing(self, region: Mask, box: Box = WHOLE) -> float:
        """Judge a region without holes, cut out of the picture by ``box``: edges, ellipse fill, area; 0 for none."""
        if not region.any():
            return 0.0
        rim = self.edges[box][region & ~ndimage.binary_erosion(region)]
        fill, ratio = _ellipse(region)
        if ratio > self.longest or (rim == 0).mean() > self.contact:
            return 0.0
        area = (region.sum() / self.edges.size) ** self.area_power
        return float(rim.mean() * fill**FILL_POWER * area * self.likely[box][region].mean())

    def coarse(self) -> "Judge":
        """The same judge for coarse pictures."""
        return replace(self, edges=coarse(self.edges), likely=coarse(self.likely))


def coarse(picture: NDArray[Any]) -> Floats:
    """Average squares of STEP pixels of [S, S] or [S, S, K], so that a mirrored picture stays the mirrored one."""
    side = SIDE // STEP
    squares: Floats = picture.reshape(side, STEP, side, STEP, *picture.shape[2:]).mean(axis=(1, 3))
    return squares


def fine(picture: Pixels) -> Pixels:
    """Repeat the pixels of a coarse picture."""
    return picture.repeat(STEP, 0).repeat(STEP, 1)


def edge_strength(features: Floats, view: Mask) -> Floats:
    """Return how sharply [S, S, K] features change, 0..1 by the picture's own measure; 0 along the rim of the view."""
    inside = ndimage.binary_erosion(view, iterations=2)
    down, across = np.gradient(features, axis=(0, 1))
    change = np.sqrt((down**2 + across**2).sum(axis=-1))
    usual = float(np.median(change[inside])) if inside.any() else 0.0
    return np.where(inside, 1 - np.exp(-((change / max(FULL_EDGE * usual, 1e-6)) ** 2)), 0.0)


@dataclass(frozen=True)
class _Candidate:
    """One label in one level set of one field, and the most that it can reach, holes aside."""

    bound: float
    values: Floats
    labels: Labels
    number: int
    box: Box


def best_level_set(
    fields: Sequence[Floats], view: Mask, judge: Judge, *, around: float, opening: int = 1, edge_at: float = 0.5
) -> Region:
    """Return the region within the view that stands out best, among the level sets of fields less their surroundings.

    Args:
        fields: [S, S] each, higher where the region is.
        view: where it may lie.
        judge: of the regions.
        around: Gaussian scale in pixels of the surroundings.
        opening: coarse pixels; bridges up to twice as wide are cut.
        edge_at: where on the way from outside (0) to inside (1) the edge lies.
    """
    judge, allowed = judge.coarse(), coarse(view) > 0.5
    candidates: list[_Candidate] = []
    for values in fields:
        small = coarse(values)
        for labels in _level_sets(small - local_mean(small, allowed, around / STEP), allowed, opening):
            candidates += _candidates(values, labels, judge.edges, judge.area_power)
    best, found = 0.0, None
    for candidate in sorted(candidates, key=lambda one: -one.bound):
        if candidate.bound <= best:
            break
        box, region = candidate.box, ndimage.binary_fill_holes(candidate.labels[candidate.box] == candidate.number)
        score = judge.standing(region, box)
        if score > best:
            best, found = score, (candidate.values, view, edge_at, opening, box, region)
    return Region(_refined(*found), best) if found else NOTHING


def _level_sets(field: Floats, allowed: Mask, opening: int) -> Iterator[Labels]:
    """Return the components of every level set; opening a field opens all its level sets at once."""
    diamond = ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), opening)
    within = np.where(allowed, field, -np.inf)
    opened = ndimage.grey_opening(within, footprint=diamond, mode="constant", cval=-np.inf)
    for level in np.quantile(field[allowed], LEVELS) if allowed.any() else ():
        yield ndimage.label(opened > level)[0]


def _candidates(values: Floats, labels: Labels, edges: Floats, area_power: float) -> Iterator[_Candidate]:
    mask = labels > 0
    rim = mask & ~ndimage.binary_erosion(mask)
    area = np.bincount(labels.ravel()) / labels.size
    lengths = np.bincount(labels[rim], minlength=len(area))
    bounds = np.bincount(labels[rim], edges[rim], len(area)) / np.maximum(lengths, 1) * area**area_power
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        if MIN_AREA < area[number] < MAX_AREA:
            yield _Candidate(float(bounds[number]), values, labels, number, box)


def _ellipse(mask: Mask) -> tuple[float, float]:
    """Return the area as a share of the ellipse with the same second moments (1 for one), and its axes' ratio."""
    rows, columns = np.nonzero(mask)
    minor, major = np.linalg.eigvalsh(np.cov(rows, columns) + np.eye(2) / 12)
    return min(1.0, len(rows) / (4 * np.pi * np.sqrt(minor * major))), float(np.sqrt(major / minor))


def _refined(values: Floats, view: Mask, edge_at: float, opening: int, box: Box, region: Mask) -> Mask:
    """Return the coarse region as the full picture shows it: what is near and more like its inside than its outside."""
    whole = np.zeros((SIDE // STEP, SIDE // STEP), bool)
    whole[box] = region
    whole = fine(whole)
    near = ndimage.binary_dilation(whole, iterations=2 * STEP) & view
    ring = near & ~ndimage.binary_dilation(whole, iterations=STEP)
    outside, inside = np.median(values[ring if ring.any() else near]), np.median(values[whole])
    full = ndimage.binary_fill_holes((values > outside + edge_at * (inside - outside)) & near)
    return largest(ndimage.binary_opening(full, iterations=STEP * opening))


def largest(mask: Mask) -> Mask:
    """Keep the largest component."""
    labels, count = ndimage.label(mask)
    kept: Mask = labels == 1 + int(np.bincount(labels.ravel())[1:].argmax()) if count else mask
    return kept
