"""Is a generated picture nearer to the picture whose caption it was made for than to others of its class?

Captions are checked by nobody here but the features: a captioner that finds its own words again in pictures has no say.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vapray.evaluation.intervals import Interval, bootstrap_interval

__all__ = ["SourceRank", "source_rank"]

OTHERS = 99
"""Sources of the class that a source stands among, where there are so many."""
Features = NDArray[np.float64]


@dataclass(frozen=True)
class SourceRank:
    """The result of :func:`source_rank`."""

    mean: float
    """Of the share of other sources of the class that are farther away than the picture's own: 0.5 is chance, which a
    network that does not see captions comes to; 1 the best."""
    interval: Interval | None
    """Over images."""
    images: int
    """With a source among the real pictures, and other sources of its class."""


def source_rank(
    made: Features,
    sources: Mapping[int, int],
    real: Features,
    groups: NDArray[np.int64],
    *,
    draws: int,
    seed: int,
) -> SourceRank | None:
    """Rank every source among the sources of its group by their distance to what was made for its caption.

    Among sources, because these were dealt to pictures at random: where captions decide nothing, each was as likely to
    be a picture's own as any other, also where there are few or some were dealt to several pictures.

    Args:
        made: [M, F], generated.
        sources: row of ``made`` -> row of ``real``; one that is missing is left out.
        real: [N, F].
        groups: [N], what a source shares with those it is ranked among: its class.
        draws: of the bootstrap.
        seed: of the others, and of the bootstrap.

    Returns:
        None where no picture has a source and others.
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


def _share_farther(made: Features, source: Features, others: Features) -> float:
    """Equal distances count half."""
    own, theirs = float(((made - source) ** 2).sum()), ((others - made) ** 2).sum(axis=1)
    return float((theirs > own).mean() + (theirs == own).mean() / 2)
