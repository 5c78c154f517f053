"""Caption adherence: agreement of generated images with their captions, beyond the effect of the class.

Four numbers on one scale of 0..1:

* adherence: attributes measured in the image against those of its caption;
* shuffled: against captions of other images of its class, the score of following the class alone;
* ceiling: real held-out images, through the autoencoder, against their own captions;
* real: the same images as they are.
"""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vapray.captioning.attributes import Attributes
from vapray.errors import DataError
from vapray.metrics.intervals import Interval, bootstrap_interval

Agreement = Callable[[Attributes, Attributes], Mapping[str, float]]
"""Maps (found, wanted) to a score in 0..1 per attribute; absent or NaN if the caption does not mention it."""
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class CaptionedImages:
    """Attributes of images as measured (``found``) and as their captions describe them (``wanted``)."""

    found: Sequence[Attributes]
    wanted: Sequence[Attributes]
    labels: Sequence[int]

    def __post_init__(self) -> None:
        """Raise ``DataError`` unless the three sequences have equal length."""
        lengths = len(self.found), len(self.wanted), len(self.labels)
        if len(set(lengths)) != 1:
            raise DataError(f"adherence: found, wanted and labels have lengths {lengths}")


@dataclass(frozen=True)
class AttributeAgreement:
    """Scores of one attribute; NaN if no caption mentions it."""

    name: str
    mentioned: int
    """Number of generated images whose caption mentions the attribute."""
    adherence: float
    shuffled: float
    ceiling: float
    real: float = math.nan
    excess: Interval | None = None
    """Bootstrap interval of adherence - shuffled; None for fewer than two captions that mention the attribute."""


@dataclass(frozen=True)
class Adherence:
    """Result of :func:`measure_adherence`."""

    adherence: float
    shuffled: float
    ceiling: float
    ceiling_shuffled: float
    """Shuffled control of the real images: the measurement is informative if the ceiling is above it."""
    relative: float
    """(adherence - shuffled) / (ceiling - shuffled); NaN if the ceiling is not above the shuffled control."""
    relative_interval: Interval | None
    """Bootstrap interval; None if some draw has no ceiling above the shuffled control."""
    adherence_interval: Interval | None
    attributes: tuple[AttributeAgreement, ...]
    caption_entropy_bits: float
    caption_entropy_within_class_bits: float
    """Caption information beyond the class, in bits; 0 means that the shuffled control equals the adherence."""
    images: int
    images_left_out: int
    """Images without a control, because they are alone in their class, or whose caption mentions no attribute."""
    real_images: int
    real: float = math.nan


def shuffled_partners(labels: Sequence[int], *, rounds: int, seed: int) -> list[NDArray[np.int64]]:
    """Select for each image up to ``rounds`` other images of its class; every image is selected equally often.

    A class is shuffled and shifted by 1, 2, ... places: each shift is a permutation without fixed points. With
    ``rounds`` >= class size - 1 every pair occurs once. An image alone in its class gets none.
    """
    rng = np.random.default_rng(seed)
    classes = np.asarray(labels)
    partners = [np.zeros(0, np.int64) for _ in labels]
    for label in np.unique(classes):
        order = rng.permutation(np.flatnonzero(classes == label))
        shifts = rng.permutation(np.arange(1, len(order)))[:rounds]
        for place, image in enumerate(order):
            partners[image] = order[(place + shifts) % len(order)]
    return partners


def _attribute_names(images: CaptionedImages) -> list[str]:
    return sorted({name for wanted in images.wanted for name in wanted})


def _row(scores: Mapping[str, float], names: Sequence[str]) -> Scores:
    return np.array([scores.get(name, np.nan) for name in names], dtype=np.float64)


def _mean_known(values: Scores, axis: int) -> Scores:
    """Mean of the values that are not NaN; NaN if there are none."""
    known = ~np.isnan(values)
    counts = known.sum(axis=axis)
    return np.where(counts > 0, np.where(known, values, 0.0).sum(axis=axis) / np.maximum(counts, 1), np.nan)


@dataclass(frozen=True)
class _Agreements:
    """Scores per image and attribute [N, A], per image [N, 2] (own, shuffled), and positions, if an image has both."""

    own: Scores
    shuffled: Scores
    pairs: Scores
    rows: Sequence[int]


def _agreements(
    images: CaptionedImages, agreement: Agreement, names: Sequence[str], rounds: int, seed: int
) -> _Agreements:
    partners = shuffled_partners(images.labels, rounds=rounds, seed=seed)
    own, shuffled, pairs, rows = [], [], [], []
    for row, (found, wanted, others) in enumerate(zip(images.found, images.wanted, partners, strict=True)):
        mine = _row(agreement(found, wanted), names)
        theirs = np.array([_row(agreement(found, images.wanted[other]), names) for other in others])
        theirs = theirs.reshape(len(others), len(names))
        pair = [_mean_known(mine, 0), _mean_known(_mean_known(theirs, 1), 0)]
        if np.isfinite(pair).all():
            own.append(mine)
            shuffled.append(_mean_known(theirs, 0))
            pairs.append(pair)
            rows.append(row)
    shape = (len(own), len(names))
    return _Agreements(np.reshape(own, shape), np.reshape(shuffled, shape), np.reshape(pairs, (len(pairs), 2)), rows)


def score_images(images: CaptionedImages, agreement: Agreement, *, rounds: int, seed: int) -> Scores:
    """Adherence and shuffled control of each image [N, 2]; NaN for one alone in its class or without attributes."""
    found = _agreements(images, agreement, _attribute_names(images), rounds, seed)
    scores = np.full((len(images.labels), 2), np.nan)
    scores[found.rows] = found.pairs
    return scores


def _relative(generated: Scores, real: Scores) -> float:
    """Relative adherence from rows (own, shuffled) of both sets."""
    adherence, shuffled = generated.mean(axis=0)
    span = real[:, 0].mean() - shuffled
    return float((adherence - shuffled) / span) if span > 0 else float("nan")


def measure_adherence(
    generated: CaptionedImages,
    real: CaptionedImages,
    agreement: Agreement,
    *,
    original: CaptionedImages | None = None,
    rounds: int = 20,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Adherence:
    """Measure caption adherence with its shuffled control and its ceiling.

    Every image counts once: its score is the mean over the attributes that the caption mentions.

    Args:
        generated: Attributes measured in generated images, and those of their captions.
        real: The same for real held-out images after the autoencoder.
        agreement: Scores one image against one caption.
        original: The same for these images without the autoencoder; None leaves their numbers NaN.
        rounds: Number of captions of the same class that each image is compared with for the control.
        draws: Number of bootstrap draws over images.
        level: Confidence level of the intervals.
        seed: Seed of the control and of the bootstrap.

    Raises:
        DataError: fewer than two images of a set share a class and have captions that mention attributes.
    """
    names = sorted({*_attribute_names(generated), *_attribute_names(real)})
    ours = _agreements(generated, agreement, names, rounds, seed)
    ceiling = _agreements(real, agreement, names, rounds, seed)
    untouched = None if original is None else _agreements(original, agreement, names, rounds, seed)
    if min(len(ours.pairs), len(ceiling.pairs)) < 2:
        raise DataError(
            f"adherence needs 2 images in each set that share a class and whose captions mention attributes; "
            f"generated {len(ours.pairs)} of {len(generated.labels)}, real {len(ceiling.pairs)}"
            f" of {len(real.labels)}"
        )
    interval = partial(bootstrap_interval, draws=draws, level=level, seed=seed)
    captions = [caption_key(wanted) for wanted in generated.wanted]
    return Adherence(
        adherence=float(ours.pairs[:, 0].mean()),
        shuffled=float(ours.pairs[:, 1].mean()),
        ceiling=float(ceiling.pairs[:, 0].mean()),
        ceiling_shuffled=float(ceiling.pairs[:, 1].mean()),
        relative=_relative(ours.pairs, ceiling.pairs),
        relative_interval=interval(_relative, [ours.pairs, ceiling.pairs]),
        adherence_interval=interval(lambda rows: float(rows[:, 0].mean()), [ours.pairs]),
        attributes=_attribute_rows(names, ours, ceiling, untouched, interval),
        caption_entropy_bits=entropy_bits(captions),
        caption_entropy_within_class_bits=entropy_within_class_bits(captions, generated.labels),
        images=len(ours.pairs),
        images_left_out=len(generated.labels) - len(ours.pairs),
        real_images=len(ceiling.pairs),
        real=float(_mean_known(untouched.pairs[:, :1], 0)[0]) if untouched else math.nan,
    )


def _attribute_rows(
    names: Sequence[str],
    ours: _Agreements,
    ceiling: _Agreements,
    untouched: _Agreements | None,
    interval: Callable[..., Interval | None],
) -> tuple[AttributeAgreement, ...]:
    mentioned = (~np.isnan(ours.own)).sum(axis=0)
    original = np.full_like(ceiling.own, np.nan) if untouched is None else untouched.own
    columns = [_mean_known(scores, 0).tolist() for scores in (ours.own, ours.shuffled, ceiling.own, original)]
    differences = (column[~np.isnan(column)] for column in (ours.own - ours.shuffled).T)
    excesses = [interval(lambda rows: float(rows.mean()), [rows]) if len(rows) > 1 else None for rows in differences]
    return tuple(
        AttributeAgreement(name, int(mentioned[i]), own, shuffled, reconstructed, real, excesses[i])
        for i, (name, own, shuffled, reconstructed, real) in enumerate(zip(names, *columns, strict=True))
    )


def caption_key(wanted: Attributes) -> Hashable:
    """Key that is equal for captions with the same attributes."""
    return tuple(sorted((name, repr(value)) for name, value in wanted.items()))


def entropy_bits(captions: Sequence[Hashable]) -> float:
    """Shannon entropy of the caption frequencies, in bits; 0 for a constant caption, log2 N if all differ."""
    shares = np.array(list(Counter(captions).values()), dtype=np.float64) / max(len(captions), 1)
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def entropy_within_class_bits(captions: Sequence[Hashable], labels: Sequence[Any]) -> float:
    """Entropy of the caption given the class, in bits: the entropies of the classes weighted by their sizes."""
    return max(0.0, entropy_bits(list(zip(labels, captions, strict=True))) - entropy_bits(list(labels)))
