"""Rows of ``nearest`` to ``memorisation.json``: the verdict, what it rests on, and the nearest pairs."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vapray.evaluation.memorisation.judgement import (
    CANNOT_TELL,
    COPIES,
    FEWEST_HELD_OUT,
    QUANTILE,
    Judged,
    Verdict,
    judge,
    verdict_of,
)

__all__ = ["Memorisation", "Pair", "audit"]

Rows = Sequence[dict[str, Any]]
PAIRS = 20
"""Nearest pairs that are kept of each search."""


@dataclass(frozen=True)
class Pair:
    """A generated picture and the training picture nearest to it."""

    generated: str
    """Key in ``measurements``."""
    training: str
    """Likewise."""
    distance: float
    """Grey levels of 255 of pixels; of features in deviations."""
    relative: float
    """Over the mean distance of the nearest training pictures."""


@dataclass(frozen=True)
class Memorisation:
    """Whether generated pictures are copies of training pictures."""

    verdict: Verdict
    why: str
    """In one sentence."""
    quantile: float
    related_left_out: int
    """Held-out pictures that share a group with a training picture, and were not asked."""
    n_training: int
    pixels: Judged
    features: Judged
    planted_found: Mapping[str, float]
    """Share of planted copies that the search in pixels finds, by what was done to them."""
    nearest_by_pixels: Sequence[Pair]
    """Nearest first."""
    nearest_by_features: Sequence[Pair]

    def to_json(self, **origin: str) -> bytes:
        """``memorisation.json``; ``origin`` says what was audited."""
        card = {"schema": 1, "verdict": self.verdict, "why": self.why, **origin, **asdict(self)}
        return (json.dumps(card, indent=1, allow_nan=False) + "\n").encode()


def audit(rows: Rows, *, related_left_out: int, n_training: int) -> Memorisation:
    """Judge both searches by rows of ``nearest`` of the sets held_out, planted and generated."""
    sets = {name: [row for row in rows if row["set"] == name] for name in ("held_out", "planted", "generated")}
    judged = {measure: judge(*(_relative(some, measure) for some in sets.values())) for measure in ("pixel", "feature")}
    pixels, features = judged["pixel"], judged["feature"]
    return Memorisation(
        verdict=verdict_of(pixels, features),
        why=_why(pixels, features),
        quantile=QUANTILE,
        related_left_out=related_left_out,
        n_training=n_training,
        pixels=pixels,
        features=features,
        planted_found=_by_kind(sets["planted"], pixels.threshold),
        nearest_by_pixels=_pairs(sets["generated"], "pixel"),
        nearest_by_features=_pairs(sets["generated"], "feature"),
    )


def _relative(rows: Rows, measure: str) -> NDArray[np.float64]:
    """[N]; 0 where even the mean of the nearest is, since the picture is then in training many times."""
    distance, around = (np.array([row[f"{measure}_{what}"] for row in rows], float) for what in ("distance", "around"))
    return np.divide(distance, around, out=np.zeros_like(distance), where=around > 0)


def _by_kind(planted: Rows, threshold: float | None) -> dict[str, float]:
    if threshold is None:
        return {}
    found = defaultdict(list)
    for row, relative in zip(planted, _relative(planted, "pixel"), strict=True):
        found[row["key"].rsplit("/", 1)[1]].append(relative <= threshold)
    return {kind: float(np.mean(hits)) for kind, hits in found.items()}


def _pairs(generated: Rows, measure: str) -> list[Pair]:
    relative = _relative(generated, measure)
    nearest = np.argsort(relative, kind="stable")[:PAIRS]
    return [
        Pair(
            generated[row]["key"],
            generated[row][f"{measure}_neighbour"],
            generated[row][f"{measure}_distance"],
            float(relative[row]),
        )
        for row in nearest
    ]


def _why(pixels: Judged, features: Judged) -> str:
    verdict = verdict_of(pixels, features)
    if verdict == COPIES:
        return " ".join(_evidence(name, found) for name, found in (("pixels", pixels), ("features", features)))
    if verdict != CANNOT_TELL:
        return (
            f"{pixels.below} of {pixels.n_generated} generated pictures are as near to a training picture as the "
            f"nearest {QUANTILE:.0%} of {pixels.n_held_out} held-out ones, no more than chance allows, and none is as "
            f"near as {pixels.single_found:.0%} of the planted copies are."
        )
    if pixels.n_held_out < FEWEST_HELD_OUT:
        return (
            f"Too few held-out pictures: {pixels.n_held_out} share no group with training ones, and "
            f"{FEWEST_HELD_OUT} are wanted. Raise data.test_share, or add pictures."
        )
    if not pixels.n_generated:
        return "No generated pictures."
    return (
        f"Only {pixels.planted_found:.0%} of the planted copies were found: held-out pictures are as near to training "
        "ones as copies are. Look for pictures that are in both splits."
    )


def _evidence(name: str, found: Judged) -> str:
    copies = f" {found.copies} are copies: as near as planted ones, and no held-out picture is." if found.copies else ""
    return (
        f"In {name} {found.below} of {found.n_generated} generated pictures ({found.share:.1%}) lie where "
        f"{found.expected:.1%} of new ones do.{copies}"
    )
