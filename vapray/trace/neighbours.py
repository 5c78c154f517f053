"""Training images nearest to an image in the run's feature space, with the memorisation audit's thresholds."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from vapray.compare.lineage import EVALUATION
from vapray.evaluation.measurement import stack_features
from vapray.memorisation.search import NUM_NEIGHBOURS, feature_distances
from vapray.metrics.frechet import FeatureStatistics
from vapray.report.gauge import Entry, Gauge, gauge
from vapray.report.number_format import number
from vapray.report.page import Image
from vapray.trace.missing import Missing, run_stage
from vapray.trace.traced_image import Row, TracedImage, load_image
from vapray.trace.traced_run import TracedRun, rows_with

__all__ = ["Neighbour", "Neighbours", "nearest_training_images"]

SHOWN = 4


@dataclass(frozen=True)
class Neighbour:
    """Training image near to the traced one."""

    image_id: str
    class_name: str
    pixels: Image | None
    distance: float
    """Euclidean distance of standardized features."""
    relative: float
    """``distance`` over the mean distance of the nearest training images; 0 is a copy."""
    relation: str
    """``source of the caption``, ``same group`` or empty."""


@dataclass(frozen=True)
class Neighbours:
    """Nearest training images, nearest first."""

    found: Sequence[Neighbour]
    features: str
    """Name of the feature space."""
    n_training: int
    """Number of training images compared, without the image itself."""
    averaged: int
    """Number of nearest images whose mean distance divides."""
    threshold: float | None
    """Relative distance of the nearest 1 % of held-out images; None without held-out images."""
    copy_distance: float | None
    """Relative distance within which a single image is a copy; None if the audit cannot tell."""
    verdict: str
    """Verdict of the memorisation audit about all generated images."""
    finding: str
    track: Gauge | None


def nearest_training_images(run: TracedRun, image: TracedImage) -> Neighbours | Missing:
    """Search all training images for those nearest to the image, without the image itself."""
    evaluation, references = run.versions.get(EVALUATION), run.references
    if evaluation is None or references is None:
        return Missing(f"This run has no evaluation. Fix: {run_stage(run.root, 'evaluate')}.")
    own = rows_with(evaluation if image.is_generated else references, key=image.key)
    if not own:
        return Missing(f"The evaluation does not measure images of the split {image.split}.")
    keys, features = _training_features(references)
    statistics = FeatureStatistics.of(features)
    standardized = (features - statistics.mean) / statistics.scale
    query = (stack_features(own[:1]) - statistics.mean) / statistics.scale
    distances = feature_distances(query, standardized)[0]
    order = [place for place in distances.argsort(kind="stable") if keys[place] != image.key]
    nearest = order[:NUM_NEIGHBOURS]
    mean = float(distances[nearest].mean()) if nearest else 0.0
    audit = json.loads(evaluation.files.read(f"{evaluation.folder}/files/report/memorisation.json") or b"{}")
    test = audit.get("features", {})
    shown = {keys[place].removeprefix("image/"): float(distances[place]) for place in nearest[:SHOWN]}
    rows = {row["image_id"]: row for row in run.rows("images", image_id=shown)}
    side = run.config.data.image_size
    found = [_neighbour(image, one, rows.get(one), distance, mean, side) for one, distance in shown.items()]
    return Neighbours(
        found,
        str(audit.get("features_of", "the run's features")),
        len(order),
        len(nearest),
        test.get("threshold"),
        test.get("copy_distance"),
        str(audit.get("verdict", "")),
        _finding(image, found, test),
        _track(image, found, test),
    )


def _training_features(references: Any) -> tuple[list[str], NDArray[np.float64]]:
    rows: list[dict[str, Any]] = []
    for part in references.read_parts(["key", "set", "features"]):
        rows += part.filter(pc.equal(part["set"], "reference")).to_pylist()
    rows.sort(key=lambda row: row["key"])
    return [row["key"] for row in rows], stack_features(rows)


def _neighbour(
    image: TracedImage, image_id: str, row: Row | None, distance: float, mean: float, side: int
) -> Neighbour:
    return Neighbour(
        image_id,
        row["class"] if row else "",
        load_image(row, side),
        distance,
        distance / mean if mean > 0 else 0.0,
        _relation(image, image_id, row["group"] if row else ""),
    )


def _relation(image: TracedImage, image_id: str, group: str) -> str:
    if image.source is None:
        return ""
    if image.is_generated and image.source["image_id"] == image_id:
        return "source of the caption"
    return "same group" if group and group == image.source["group"] else ""


def _finding(image: TracedImage, found: Sequence[Neighbour], test: dict[str, Any]) -> str:
    if not found:
        return "There is no other training image."
    relative, threshold, copy = found[0].relative, test.get("threshold"), test.get("copy_distance")
    if not image.is_generated:
        return (
            f"The nearest other training image is at {number(relative)}. The audit judges generated images; "
            "a real image is shown for comparison."
        )
    if copy is not None and relative <= copy:
        return f"At {number(relative)} this image is as near as planted copies: it is a copy of a training image."
    if threshold is None:
        return "Too few images are held out to tell how near new images are."
    if relative <= threshold:
        return (
            f"At {number(relative)} this image is as near as the nearest 1 % of held-out images, a suspected copy. "
            "Compare the images."
        )
    return f"At {number(relative)} this image is farther from training images than the nearest 1 % of held-out images."


def _track(image: TracedImage, found: Sequence[Neighbour], test: dict[str, Any]) -> Gauge | None:
    entries = [
        Entry("Copy: as near as planted copies", test.get("copy_distance"), "floor"),
        Entry("Threshold: nearest 1 % of held-out images", test.get("threshold"), "real"),
        Entry("This image", found[0].relative if found else None, "made" if image.is_generated else "other"),
    ]
    return gauge("Relative distance to the nearest training image", entries, number)
