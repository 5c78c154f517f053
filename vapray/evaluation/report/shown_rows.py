"""Rows of the images and captions that the report shows, read without the other rows."""

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vapray.memorisation.audit import Memorisation, Pair
from vapray.store.version import Version

__all__ = ["NEAREST_PAIRS", "first_captions_of", "first_of_class", "shown_images", "shown_samples"]

IMAGES_OF_A_CLASS = 6
NEAREST_PAIRS = 6
"""Number of nearest pairs shown for each search."""
Rows = list[dict[str, Any]]


def shown_samples(samples: Version, classes: int, memorisation: Memorisation) -> Rows:
    """Read the generated images that are shown: the first of each class, and those of the nearest pairs."""
    rows = samples.read(["sample_id", "arm", "label"]).filter(pc.field("arm") == "generated")
    shown = {pair.generated.removeprefix("sample/") for pair in _shown_pairs(memorisation)}
    for label in range(classes):
        shown |= set(rows.filter(pc.field("label") == label)["sample_id"][:IMAGES_OF_A_CLASS].to_pylist())
    return _rows_of(samples, "sample_id", shown, ["label", "caption", "source_image_id", "png"])


def shown_images(
    images: Version,
    classes: int,
    unseen: Rows,
    generated: Rows,
    memorisation: Memorisation,
    first_captions: Mapping[int, dict[str, Any]],
) -> dict[str, dict[str, Any]]:
    """Read the rows of the real images that are shown, by id."""
    shown = {row["source_image_id"] for row in generated} | {row["image_id"] for row in first_captions.values()}
    shown |= {pair.training.removeprefix("image/") for pair in _shown_pairs(memorisation)}
    for label in range(classes):
        shown |= {row["image_id"] for row in first_of_class(unseen, label)}
    return {row["image_id"]: row for row in _rows_of(images, "image_id", shown, ["label", "path"])}


def _shown_pairs(memorisation: Memorisation) -> list[Pair]:
    return [*memorisation.nearest_by_pixels[:NEAREST_PAIRS], *memorisation.nearest_by_features[:NEAREST_PAIRS]]


def first_of_class(rows: Rows, label: int) -> Rows:
    """Select the first rows of a class."""
    return list(islice((row for row in rows if row["label"] == label), IMAGES_OF_A_CLASS))


def _rows_of(version: Version, key: str, keys: Collection[str], columns: Sequence[str]) -> Rows:
    """Read the rows with these keys, sorted by key."""
    wanted = pa.array(sorted(keys), pa.string())
    found = [part.filter(pc.is_in(part[key], wanted)) for part in version.read_parts([key, *columns])]
    return sorted((row for part in found for row in part.to_pylist()), key=lambda row: row[key])


def first_captions_of(captions: Version) -> dict[int, dict[str, Any]]:
    """Read the row of the first captioned training image of each class."""
    first: dict[int, dict[str, Any]] = {}
    for part in captions.read_parts(["image_id", "label", "split"]):
        for row in part.filter(pc.field("split") == "train").sort_by("image_id").to_pylist():
            known = first.get(row["label"])
            if known is None or row["image_id"] < known["image_id"]:
                first[row["label"]] = row
    columns = ["label", "impression", "knowledge_id", "caption"]
    shown = {row["image_id"] for row in first.values()}
    return {row["label"]: row for row in _rows_of(captions, "image_id", shown, columns)}
