"""Rank of a caption's source image by its distance to the generated image, among other sources of its class.

The rank uses features only, so it does not depend on a captioner that recognizes its own words in images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vapray.evaluation.set_metrics import FeatureSet
from vapray.metrics.frechet import FeatureStatistics
from vapray.metrics.intervals import Interval, bootstrap_interval

__all__ = ["SourceRank", "rank_sources", "source_rank"]

OTHERS = 99
"""Maximum number of other sources of the class that a source is ranked among."""
Features = NDArray[np.float64]


@dataclass(frozen=True)
class SourceRank:
    """Result of :func:`source_rank`."""

    mean: float
    """Mean share of other sources of the class that are farther away than the image's own source: 0.5 is chance, the
    value of a network that does not see captions; 1 is the best."""
    interval: Interval | None
    """Bootstrap interval over images."""
    images: int
    """Number of generated images with a source among the real images and other sources of its class."""


def source_rank(
    made: Features,
    sources: Mapping[int, int],
    real: Features,
    groups: NDArray[np.int64],
    *,
    draws: int,
    seed: int,
) -> SourceRank | None:
    """Rank every source among the sources of its group by their distance to the image generated for its caption.

    Only sources are ranked, because they were assigned to images at random: if captions have no effect, each source is
    equally likely to be an image's own, also if there are few sources or some have several images.

    Args:
        made: Features of generated images [M, F].
        sources: Row of ``real`` by row of ``made``; rows without a source are skipped.
        real: Features of real images [N, F].
        groups: Group [N] within which a source is ranked: its class.
        draws: Number of bootstrap draws.
        seed: Seed of the selection of other sources, and of the bootstrap.

    Returns:
        The mean rank, or None if no image has a source and other sources to rank it among.
    """
    rng = np.random.default_rng(seed)
    used = np.unique(np.fromiter(sources.values(), dtype=np.int64))
    members = {group: used[groups[used] == group] for group in np.unique(groups[used]).tolist()}
    ranks = []
    for row, source in sorted(sources.items()):
        others = members[int(groups[source])]
        others = others[others != source]
        if len(others):
            some = others if len(others) <= OTHERS else rng.choice(others, OTHERS, replace=False)
            ranks.append(_share_farther(made[row], real[source], real[some]))
    if not ranks:
        return None
    values = np.array(ranks)
    interval = bootstrap_interval(lambda some: float(some.mean()), [values], draws=draws, seed=seed)
    return SourceRank(float(values.mean()), interval if len(values) > 1 else None, len(values))


def rank_sources(
    sets: Mapping[str, Sequence[dict[str, Any]]],
    features: Mapping[str, FeatureSet],
    sources: Mapping[str, str],
    *,
    draws: int,
    seed: int,
) -> SourceRank | None:
    """Rank sources in features scaled by the training images' deviations, independent of the scaling for FID.

    Args:
        sets: Measured rows by set; ``reference``, ``held_out`` and ``generated`` are used.
        features: Features of the same rows.
        sources: Key of the real image whose caption was used, by key of the generated image.
        draws: Number of bootstrap draws.
        seed: Seed of :func:`source_rank`.
    """
    reference, held_out, generated = (features[name] for name in ("reference", "held_out", "generated"))
    scale = FeatureStatistics.of(reference.features).scale
    rows = {row["key"]: place for place, row in enumerate([*sets["reference"], *sets["held_out"]])}
    known = {place: sources.get(row["key"]) for place, row in enumerate(sets["generated"])}
    return source_rank(
        generated.features / scale,
        {place: rows[source] for place, source in known.items() if source in rows},
        np.concatenate([reference.features, held_out.features]) / scale,
        np.concatenate([reference.labels, held_out.labels]),
        draws=draws,
        seed=seed,
    )


def _share_farther(made: Features, source: Features, others: Features) -> float:
    """Share of other sources that are farther away; equal distances count half."""
    own, theirs = float(((made - source) ** 2).sum()), ((others - made) ** 2).sum(axis=1)
    return float((theirs > own).mean() + (theirs == own).mean() / 2)
