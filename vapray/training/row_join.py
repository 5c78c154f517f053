"""Join of ``prompt_bank`` and ``latents`` into training rows, without reading the large columns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vapray.errors import DataError
from vapray.store.version import Version

__all__ = ["RowJoin", "join_rows"]

NOWHERE = -1
SIZES = ("channels", "height", "width")
LEFT_RIGHT, UP_DOWN = 1, 2
"""Bits of ``RowJoin.sided``."""
SIDES = {
    LEFT_RIGHT: r"(?i)\b(left|right)",
    UP_DOWN: r"(?i)\b(upper|lower|top|bottom|above|below|beneath|superior|inferior|upward|downward|vertical|horizontal)"
    r"(most|s|ly)?\b",
}
"""Words of a side, such as left, right-sided, lower or uppermost."""


@dataclass(frozen=True)
class RowJoin:
    """Training rows, sorted by image_id, and the training row of each table row.

    Attributes:
        image_ids: ids, string [N].
        labels: classes, int32 [N].
        offsets: offsets of the concatenated contexts, int64 [N + 1].
        width: width of a token.
        shape: shape of moments, (2 * channels, height, width).
        bank_places: for each row of ``prompt_bank``, in the order of its parts, its training row or -1.
        latents_places: for each row of ``latents``, in the order of its parts, its training row or -1.
        flipped: for each row of ``latents``, True for a mirror image, bool.
        teacher_shape: shape of a teacher's features, (F, g, g); None without one.
        sided: sides that captions name, the bits ``LEFT_RIGHT`` and ``UP_DOWN``, uint8 [N]. A mirror image contradicts
            the first, a turned image both.
    """

    image_ids: pa.Array
    labels: NDArray[np.int32]
    offsets: NDArray[np.int64]
    width: int
    shape: tuple[int, int, int]
    teacher_shape: tuple[int, int, int] | None
    bank_places: NDArray[np.int64]
    latents_places: NDArray[np.int64]
    flipped: NDArray[np.bool_]
    sided: NDArray[np.uint8]

    @property
    def nbytes(self) -> int:
        """Size of all moments, contexts and features, in bytes."""
        features = math.prod(self.teacher_shape) if self.teacher_shape else 0
        pairs = 2 * math.prod(self.shape) + features
        return 2 * (len(self.labels) * pairs + int(self.offsets[-1]) * self.width)


def join_rows(bank: Version, latents: Version, split: str) -> RowJoin:
    """Join two finished tables on image_id; needs about 400 bytes of memory per row, and its caption.

    Raises:
        DataError: no row of ``split`` is in both, an image's mirror image is missing, or shapes differ.
    """
    captions = _read(bank, ["image_id", "split", "label", "num_tokens", "width", "caption"])
    asked = np.flatnonzero(pc.equal(captions.column("split"), split).to_numpy())
    asked = asked[pc.sort_indices(captions.column("image_id").take(asked)).to_numpy()]
    moments = _read(latents, ["image_id", "flipped", *SIZES])
    places = _places_of(moments.column("image_id"), captions.column("image_id").take(asked))
    flipped = moments.column("flipped").to_numpy()
    is_encoded = _are_pairs(latents, moments, places, flipped, len(asked))
    rows = captions.take(asked[is_encoded])
    if not rows.num_rows:
        raise DataError(
            f"{bank.uri} and {latents.uri}: no image of the {split} split is in both. Fix: check their rejects."
        )
    channels, height, width = _only(latents, moments.filter(places != NOWHERE), SIZES)
    return RowJoin(
        image_ids=rows.column("image_id").combine_chunks(),
        labels=rows.column("label").to_numpy(),
        offsets=np.concatenate([[0], np.cumsum(rows.column("num_tokens").to_numpy(), dtype=np.int64)]),
        width=_only(bank, rows, ["width"])[0],
        shape=(2 * channels, height, width),
        teacher_shape=_teacher_shape(latents),
        bank_places=_inverse(asked[is_encoded], captions.num_rows),
        latents_places=np.where(places == NOWHERE, NOWHERE, (np.cumsum(is_encoded) - 1)[places]),
        flipped=flipped,
        sided=_named_sides(rows.column("caption")),
    )


def _teacher_shape(latents: Version) -> tuple[int, int, int] | None:
    noted = latents.require_manifest().notes.get("teacher_shape")
    return (noted[0], noted[1], noted[2]) if noted else None


def _named_sides(captions: pa.ChunkedArray) -> NDArray[np.uint8]:
    named = [bit * pc.match_substring_regex(captions, words).to_numpy() for bit, words in SIDES.items()]
    return np.sum(named, axis=0, dtype=np.uint8)


def _read(version: Version, columns: list[str]) -> pa.Table:
    none = version.table_spec.schema.empty_table().select(columns)
    return pa.concat_tables([none, *(part.select(columns) for part in version.read_parts(columns))])


def _places_of(ids: pa.ChunkedArray, asked: pa.ChunkedArray) -> NDArray[np.int64]:
    return pc.index_in(ids, value_set=asked).fill_null(NOWHERE).to_numpy().astype(np.int64)


def _inverse(wanted: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    places = np.full(count, NOWHERE)
    places[wanted] = np.arange(len(wanted))
    return places


def _are_pairs(
    latents: Version, rows: pa.Table, places: NDArray[np.int64], flipped: NDArray[np.bool_], count: int
) -> NDArray[np.bool_]:
    """Find the requested images that have moments, and require both the image and its mirror image."""
    asked = places != NOWHERE
    sides = np.bincount(2 * places[asked] + flipped[asked], minlength=2 * count).reshape(-1, 2)
    is_there: NDArray[np.bool_] = sides.sum(axis=1) > 0
    if len(odd := np.flatnonzero(is_there & (sides != 1).any(axis=1))):
        image_id = rows.column("image_id")[int(np.flatnonzero(places == odd[0])[0])]
        straight, mirrored = sides[odd[0]]
        raise DataError(
            f"{latents.uri}: image {image_id} occurs {straight} times unmirrored and {mirrored} times mirrored, "
            f"expected once each; {len(odd):,} images affected. Fix: delete this folder and rerun stage encode."
        )
    return is_there


def _only(version: Version, rows: pa.Table, columns: Sequence[str]) -> list[int]:
    """Get the one value that all rows have in each of some columns."""
    found = {name: pc.min_max(rows.column(name)).as_py() for name in columns}
    for name, values in found.items():
        if values["min"] != values["max"]:
            raise DataError(
                f"{version.uri}: {name} is {values['min']} in one row and {values['max']} in another, expected one "
                "for all. Fix: delete this folder and rerun its stage."
            )
    return [values["min"] for values in found.values()]
