"""Memorisation audit: verdict, evidence and nearest pairs, written to ``memorisation.json``."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vapray.memorisation.copy_test import (
    CANNOT_TELL,
    COPIES,
    MIN_HELD_OUT,
    QUANTILE,
    CopyTestResult,
    Verdict,
    combine_verdicts,
    run_copy_test,
)

__all__ = ["Copied", "Memorisation", "Pair", "audit", "copied_images"]

Rows = Sequence[dict[str, Any]]
Copied = tuple[set[str] | None, set[str] | None]
"""Keys of training images with a certain, and with a suspected copy; None where that cannot be told."""
PAIRS = 20
"""Number of nearest pairs kept from each search."""


@dataclass(frozen=True)
class Pair:
    """A generated image and the training image nearest to it."""

    generated: str
    """Key of the generated image in ``measurements``."""
    training: str
    """Key of the training image in ``reference_measurements``."""
    distance: float
    """Distance in grey levels of 255 for pixels, in standard deviations for features."""
    relative: float
    """Distance over the mean distance of the nearest training images."""


@dataclass(frozen=True)
class Memorisation:
    """Result of the memorisation audit."""

    verdict: Verdict
    why: str
    """Reason for the verdict, in one or two sentences."""
    quantile: float
    related_left_out: int
    """Number of held-out images that share a group with a training image and were not looked up."""
    n_training: int
    pixels: CopyTestResult
    features: CopyTestResult
    planted_found: Mapping[str, float]
    """Share of planted copies that the pixel search finds, by kind of change."""
    nearest_by_pixels: Sequence[Pair]
    """Pairs with the smallest relative distance, nearest first."""
    nearest_by_features: Sequence[Pair]

    def to_json(self, **origin: str) -> bytes:
        """Serialize as ``memorisation.json``; ``origin`` identifies the audited checkpoint."""
        card = {"schema": 1, "verdict": self.verdict, "why": self.why, **origin, **asdict(self)}
        return (json.dumps(card, indent=1, allow_nan=False) + "\n").encode()


def audit(rows: Rows, *, related_left_out: int, n_training: int) -> Memorisation:
    """Run the audit.

    Args:
        rows: Rows of ``nearest_training`` of the sets held_out, planted and generated.
        related_left_out: Number of held-out images that were not looked up.
        n_training: Number of training images.
    """
    sets = {name: [row for row in rows if row["set"] == name] for name in ("held_out", "planted", "generated")}
    judged = {
        measure: run_copy_test(*(_relative(some, measure) for some in sets.values()))
        for measure in ("pixel", "feature")
    }
    pixels, features = judged["pixel"], judged["feature"]
    return Memorisation(
        verdict=combine_verdicts(pixels, features),
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


def copied_images(rows: Rows, found: Memorisation) -> Copied:
    """Keys of the training images that generated images copy.

    Args:
        rows: Rows of ``nearest_training`` of the set generated.
        found: Audit that includes these rows.

    Returns:
        Images with a certain copy, as near as planted copies in either search; and with a suspected one, at or below
        the threshold of either search. None where too few images are held out to tell.
    """
    searches = {"pixel": found.pixels, "feature": found.features}
    certain = {name: test.copy_distance for name, test in searches.items()}
    suspected = {name: test.threshold if test.n_held_out >= MIN_HELD_OUT else None for name, test in searches.items()}
    return _nearest_within(rows, certain), _nearest_within(rows, suspected)


def _nearest_within(rows: Rows, limits: Mapping[str, float | None]) -> set[str] | None:
    known = {measure: limit for measure, limit in limits.items() if limit is not None}
    if not known:
        return None
    return {
        row[f"{measure}_neighbour"]
        for measure, limit in known.items()
        for row, relative in zip(rows, _relative(rows, measure), strict=True)
        if relative <= limit
    }


def _relative(rows: Rows, measure: str) -> NDArray[np.float64]:
    """Relative distances [N]; 0 if the mean of the nearest is 0, since the image is then in training many times."""
    distance, mean = (np.array([row[f"{measure}_{what}"] for row in rows], float) for what in ("distance", "knn_mean"))
    return np.divide(distance, mean, out=np.zeros_like(distance), where=mean > 0)


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


def _why(pixels: CopyTestResult, features: CopyTestResult) -> str:
    verdict = combine_verdicts(pixels, features)
    if verdict == COPIES:
        return " ".join(_evidence(name, found) for name, found in (("pixels", pixels), ("features", features)))
    if verdict != CANNOT_TELL:
        return (
            f"{pixels.below} of {pixels.n_generated} generated images are as near to a training image as the "
            f"nearest {QUANTILE:.0%} of {pixels.n_held_out} held-out images, no more than chance allows, and none is "
            f"as near as {pixels.single_found:.0%} of the planted copies are."
        )
    if pixels.n_held_out < MIN_HELD_OUT:
        return (
            f"Too few held-out images: {pixels.n_held_out} share no group with training images, and "
            f"{MIN_HELD_OUT} are required. Fix: raise data.test_share, or add images."
        )
    if not pixels.n_generated:
        return "There are no generated images."
    return (
        f"Only {pixels.planted_found:.0%} of the planted copies were found: held-out images are as near to training "
        "images as copies are. Fix: search for images that are in both splits."
    )


def _evidence(name: str, found: CopyTestResult) -> str:
    copies = f" {found.copies} are copies: as near as planted copies, and no held-out image is." if found.copies else ""
    return (
        f"In {name}, {found.below} of {found.n_generated} generated images ({found.share:.1%}) are within the distance "
        f"of {found.expected:.1%} of new images.{copies}"
    )
