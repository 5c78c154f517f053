"""Image of a trace: a real image of the dataset, or a generated sample with the image that its caption describes."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow.compute as pc

from vapray.data.decode import decode
from vapray.data.image_loading import load_square_image
from vapray.data.origins import UNKNOWN
from vapray.errors import DataError, ImageDecodeError
from vapray.report.page import Image
from vapray.store.tables import REJECT
from vapray.trace.traced_run import TracedRun

__all__ = ["Row", "TracedImage", "find_image", "load_image"]

Row = Mapping[str, Any]
VIEW_SIDE = 320
"""Side of real images on the page, in pixels."""
SUGGESTIONS, MOST_COMPARED = 3, 10_000


@dataclass(frozen=True)
class TracedImage:
    """Image with its rows.

    Attributes:
        id: image_id or sample_id.
        label: Class, as an index.
        class_name: Class, as a name.
        pixels: Real image at ``VIEW_SIDE`` pixels, or generated image; None if the file cannot be read.
        network_pixels: The image at the side of the network; None as above.
        source: Row of ``images``: its own, or of the image that the sample's caption describes; None if that image is
            not of this run.
        captioned: Row of ``captions`` of ``source``; None without one.
        sample: Row of ``samples``; None for a real image.
        caption: Caption that conditions the network; empty if the image has none.
        reject: Reason why the image has no caption; empty if it has one.
    """

    id: str
    label: int
    class_name: str
    pixels: Image | None
    network_pixels: Image | None
    source: Row | None
    captioned: Row | None
    sample: Row | None
    caption: str
    reject: str

    @property
    def is_generated(self) -> bool:
        """True for a sample."""
        return self.sample is not None

    @property
    def split(self) -> str:
        """Split of a real image; ``generated`` for a sample."""
        return "generated" if self.sample or not self.source else str(self.source["split"])

    @property
    def key(self) -> str:
        """Key of the image in the tables of the evaluation."""
        return f"sample/{self.id}" if self.sample else f"image/{self.id}"

    @property
    def no_caption(self) -> str:
        """Sentence about an image without a caption."""
        return f"The network has no caption of this image{f': {self.reject}' if self.reject else ''}."

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Texts of the source row, by name of the column."""
        return _source_facts(self.source) if self.source else []


def find_image(run: TracedRun, image_id: str) -> TracedImage:
    """Find a real image by its image_id, or a generated image by its sample_id.

    Raises:
        DataError: neither table has it; names some ids that exist.
    """
    if found := run.rows("images", image_id=image_id):
        return _real(run, found[0])
    if found := run.rows("samples", sample_id=image_id, arm="generated"):
        return _generated(run, found[0])
    raise DataError(
        f"{run.root}: no image {image_id!r} in images or samples. Fix: give an id, {_suggest(run, image_id)}."
    )


def load_image(row: Row | None, side: int) -> Image | None:
    """Read the file of a row of ``images`` as uint8 [side, side, 3]; None if it cannot be read."""
    try:
        return load_square_image(row["path"], side) if row else None
    except ImageDecodeError:
        return None


def _real(run: TracedRun, row: Row) -> TracedImage:
    if row[REJECT]:
        raise DataError(
            f"{run.root}: image {row['image_id']!r} was rejected by ingest: {row[REJECT]}. Fix: give another."
        )
    caption, reject = _caption_of(run, row["image_id"])
    bank = run.rows("prompt_bank", image_id=row["image_id"])
    kept = next((one for one in bank if not one[REJECT]), None)
    reject = reject or (bank[0][REJECT] if bank and not kept else "")
    return TracedImage(
        row["image_id"],
        row["label"],
        row["class"],
        load_image(row, VIEW_SIDE),
        load_image(row, run.config.data.image_size),
        row,
        caption,
        None,
        kept["caption"] if kept else "",
        reject,
    )


def _generated(run: TracedRun, row: Row) -> TracedImage:
    source = next(iter(run.rows("images", image_id=row["source_image_id"])), None)
    pixels = decode(row["png"])
    captioned, _ = _caption_of(run, row["source_image_id"]) if source else (None, "")
    return TracedImage(
        row["sample_id"], row["label"], row["class"], pixels, pixels, source, captioned, row, row["caption"], ""
    )


def _caption_of(run: TracedRun, image_id: str) -> tuple[Row | None, str]:
    """Row of ``captions``, or the reason of its reject."""
    found = run.rows("captions", image_id=image_id)
    if not found:
        return None, "no row in the table captions"
    return (None, f"rejected as {found[0][REJECT]}") if found[0][REJECT] else (found[0], "")


def _suggest(run: TracedRun, asked: str) -> str:
    """Name ids that exist: similar ones, else the first of each split and of the samples."""
    images = run.versions["images"].read(["image_id", "split"])
    ids = images["image_id"].to_pylist()
    samples = run.versions.get("samples")
    drawn = samples.read(["sample_id", "arm"]) if samples else None
    made = drawn.filter(pc.equal(drawn["arm"], "generated"))["sample_id"].to_pylist() if drawn else []
    compared = [*ids[:MOST_COMPARED], *made[:MOST_COMPARED]]
    if near := difflib.get_close_matches(asked, compared, n=SUGGESTIONS, cutoff=0.8):
        return f"such as {', '.join(near)}"
    first = {
        split: image_id for image_id, split in zip(reversed(ids), reversed(images["split"].to_pylist()), strict=True)
    }
    named = [f"{image_id} ({split})" for split, image_id in sorted(first.items(), key=lambda one: one[0] != "train")]
    return f"such as {', '.join([*named, *(f'{one} (generated)' for one in made[:1])])}"


def _source_facts(row: Row) -> list[tuple[str, str]]:
    texts = {
        "Image id": row["image_id"],
        "File": PurePosixPath(row["path"]).name,
        "Size": f"{row['width']} x {row['height']} pixels",
        "Group": row["group"] or UNKNOWN,
        "Subject": row["subject"] or UNKNOWN,
        "Licence": row["licence"] or UNKNOWN,
        "Source": row["source"] or UNKNOWN,
        "File sha256": row["sha256"],
    }
    metadata = json.loads(row["metadata"]) if row["metadata"] else {}
    return [*texts.items(), *((name, str(value)) for name, value in metadata.items())]
