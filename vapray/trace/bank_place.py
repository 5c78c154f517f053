"""Place of a caption among the captions of its class in the prompt bank."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vapray.bank.bank_distance import BankDistances
from vapray.bank.hashing_encoder import HashingEncoder
from vapray.errors import DataError
from vapray.trace.missing import Missing
from vapray.trace.traced_image import TracedImage
from vapray.trace.traced_run import TracedRun

__all__ = ["BankNeighbour", "BankPlace", "bank_place"]

SHOWN = 4
MOST_TICKS = 200


@dataclass(frozen=True)
class BankNeighbour:
    """Caption of the class near to the traced one."""

    image_id: str
    caption: str
    distance: float
    """Cosine distance of mean tokens, 0..2."""


@dataclass(frozen=True)
class BankPlace:
    """Place of a caption in the bank."""

    class_captions: int
    """Number of captions of the class."""
    captions: int
    """Number of captions of all classes."""
    position: int | None
    """Position among the captions of the class by image id, from 1; None if the caption is of no training image."""
    same_text: int
    """Number of captions of the class with exactly this text."""
    texts: int
    """Number of different captions of the class."""
    compared: int
    """Number of these that distances are computed for."""
    nearest: Sequence[BankNeighbour]
    """Nearest captions with another text."""
    typical: float
    """Median distance of the class's captions to their nearest other text."""
    share_farther: float
    """Share of the class's captions that are farther from their nearest other text than this one is."""
    ticks: Sequence[float]
    """Distances of the class's captions to their nearest other text, ascending, at most ``MOST_TICKS``."""
    encoder: str
    has_semantics: bool
    """False for the hashing encoder, whose distances count shared words."""


def bank_place(run: TracedRun, image: TracedImage) -> BankPlace | Missing:
    """Compare the caption with the captions of its class, in the text encoder of the trained model."""
    if not image.caption:
        return Missing(image.no_caption)
    bank, encoder = run.sampler.bank, run.sampler.encoder
    distances = BankDistances(bank, encoder)
    try:
        nearest = distances.nearest_others(image.label, image.caption, SHOWN)
        spread = np.sort(distances.spread(image.label))
    except DataError as error:
        return Missing(f"The caption cannot be compared with the prompt bank: {error}.")
    entries = bank.entries(image.label)
    source = image.source["image_id"] if image.source else ""
    position = next((place for place, one in enumerate(entries, 1) if one.image_id == source), None)
    own = nearest[0][1] if nearest else 1.0
    ticks = spread[np.linspace(0, len(spread) - 1, min(len(spread), MOST_TICKS)).round().astype(int)]
    return BankPlace(
        len(entries),
        len(bank),
        position,
        sum(one.caption == image.caption for one in entries),
        len({one.caption for one in entries}),
        len(spread),
        [BankNeighbour(entry.image_id, entry.caption, distance) for entry, distance in nearest],
        float(np.median(spread)),
        float((spread > own + 1e-6).mean()),
        [float(one) for one in ticks],
        encoder.id,
        not isinstance(encoder, HashingEncoder),
    )
