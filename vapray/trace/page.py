"""HTML page of a trace."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vapray.report.number_format import number, percent
from vapray.report.page import Image, page, sides
from vapray.trace.bank_place import BankPlace
from vapray.trace.denoising import Bypassed, Denoising
from vapray.trace.neighbours import Neighbours
from vapray.trace.prototype_attention import PrototypeAttention
from vapray.trace.statements import CheckedCaption
from vapray.trace.trace import Trace

__all__ = ["render_trace"]

HEAT = (214, 96, 48)
"""Colour of the heat maps; the weight is the opacity, so that they fit a light and a dark page."""
MAPS = 6
"""Number of prototypes whose attention is shown on the image."""
MARGIN = 3.0
"""Margin of the track of distances, in percent."""


@dataclass(frozen=True)
class HeatRow:
    """Attention of one token, or of a block of tokens, as an image with a row per token and a column per prototype."""

    name: str
    image: Image
    strongest: str
    """Prototype with the largest weight, as text."""


@dataclass(frozen=True)
class PrototypeMap:
    """Attention of the patches to one prototype, as an image with a value per patch."""

    number: int
    image: Image
    highest: float


@dataclass(frozen=True)
class HeatMap:
    """Heat map of tokens x prototypes, with the prototypes in descending order of their mean weight."""

    rows: list[HeatRow]
    blocks: list[HeatRow]
    maps: list[PrototypeMap]
    highest: float
    prototypes: int


@dataclass(frozen=True)
class Track:
    """Positions on the track of distances to the nearest other caption, in percent."""

    ticks: list[float]
    mark: float
    low: str
    high: str
    summary: str


def render_trace(trace: Trace) -> str:
    """Render the page: self-contained, without scripts; all text is escaped."""
    image = trace.image
    return page(
        "trace.html.jinja",
        trace=trace,
        image=image,
        headline=_headline(trace),
        heat=_heat_map(trace.attention) if isinstance(trace.attention, PrototypeAttention) else None,
        track=_track(trace.bank) if isinstance(trace.bank, BankPlace) else None,
        difference=_difference(trace),
        numeral=number,
        sides=sides([] if image.network_pixels is None else [image.network_pixels]),
    )


def _headline(trace: Trace) -> str:
    """Summarize the checks of the caption and the distance to training images in one sentence."""
    parts = []
    if isinstance(trace.caption, CheckedCaption):
        wrong, right = trace.caption.count("contradicted"), trace.caption.count("consistent")
        if wrong + right:
            parts.append(
                f"{right} of {wrong + right} checked statements of the caption are consistent with the real image"
            )
    if isinstance(trace.neighbours, Neighbours) and trace.neighbours.found and trace.image.is_generated:
        near, limit = trace.neighbours.found[0].relative, trace.neighbours.threshold
        if limit is not None:
            place = "within" if near <= limit else "beyond"
            parts.append(f"the nearest training image is {place} the audit's threshold")
    text = "; ".join(parts) or "No check of this image is available"
    return f"{text[0].upper()}{text[1:]}."


def _heat_map(attention: PrototypeAttention) -> HeatMap:
    weights = attention.weights_LP
    order = np.argsort(-weights.mean(axis=0), kind="stable")
    highest = float(weights.max())
    first = len(attention.names)
    rows = [_heat_row(name, weights[place : place + 1], order, highest) for place, name in enumerate(attention.names)]
    unnamed, patches = np.split(weights[first:], [attention.unnamed])
    blocks = [
        _heat_row(f"{len(block)} {kind}", block, order, highest)
        for kind, block in (("text tokens", unnamed), ("patches", patches))
        if len(block)
    ]
    return HeatMap(rows, blocks, _maps(attention), highest, weights.shape[1])


def _heat_row(name: str, weights_LP: NDArray[np.float32], order: NDArray[np.int64], highest: float) -> HeatRow:
    mean_P = weights_LP.mean(axis=0)
    strongest = f"prototype {int(mean_P.argmax()) + 1}: {percent(float(mean_P.max()))}"
    return HeatRow(name, _heat(weights_LP[:, order] / highest), strongest)


def _maps(attention: PrototypeAttention) -> list[PrototypeMap]:
    """Prototypes whose weights differ most between patches."""
    patches = attention.patches
    highest = patches.max(axis=(0, 1))
    chosen = np.argsort(-patches.std(axis=(0, 1)), kind="stable")[:MAPS]
    return [
        PrototypeMap(int(one) + 1, _heat(patches[:, :, one] / max(1e-30, highest[one])), float(highest[one]))
        for one in chosen
    ]


def _heat(shares: NDArray[np.floating]) -> Image:
    """Paint shares [H, W] of 0..1 as opacity of one colour, uint8 [H, W, 4]."""
    painted = np.empty((*shares.shape, 4), np.uint8)
    painted[..., :3] = HEAT
    painted[..., 3] = np.round(255 * np.clip(shares, 0, 1))
    return painted


def _difference(trace: Trace) -> tuple[Image, float] | None:
    """Mean absolute difference over channels of the images with and without prototypes, and its largest value."""
    if not isinstance(trace.bypassed, Bypassed) or not isinstance(trace.denoising, Denoising):
        return None
    apart = np.abs(trace.bypassed.pixels.astype(float) - trace.denoising.result.astype(float)).mean(axis=2)
    return _heat(apart / max(1e-9, float(apart.max()))), float(apart.max())


def _track(bank: BankPlace) -> Track | None:
    if not bank.nearest:
        return None
    own = bank.nearest[0].distance
    most = max([own, *bank.ticks]) or 1.0

    def place(distance: float) -> float:
        return round(MARGIN + (100 - 2 * MARGIN) * distance / most, 2)

    summary = (
        f"Distance to the nearest other caption of the class: this caption {number(own)}, median {number(bank.typical)}"
    )
    return Track([place(one) for one in bank.ticks], place(own), "0", number(most), summary)
