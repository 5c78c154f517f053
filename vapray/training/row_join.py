"""Which row of ``bank`` and which rows of ``latents`` make which training row; the large columns are left alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vapray.errors import DataError
from vapray.store import Version

__all__ = ["RowJoin", "join_rows"]

NOWHERE = -1


@dataclass(frozen=True)
class RowJoin:
    """The training rows, sorted by image_id, and where each row of a table goes.

    Attributes:
        image_ids: string [N].
        labels: int32 [N].
        offsets: int64 [N + 1], of the contexts laid one behind the other.
        width: of a token.
        shape: of moments, (2C, h, w).
        bank_places: for each row of ``bank``, in the order of its parts, its training row or -1.
        latents_places: the same for ``latents``.
        flipped: bool, for each row of ``latents``.
    """

    image_ids: pa.Array
    labels: NDArray[np.int32]
    offsets: NDArray[np.int64]
    width: int
    shape: tuple[int, int, int]
    bank_places: NDArray[np.int64]
    latents_places: NDArray[np.int64]
    flipped: NDArray[np.bool_]

    @property
    def nbytes(self) -> int:
        """Of all moments and contexts."""
        return 2 * (2 * len(self.labels) * math.prod(self.shape) + int(self.offsets[-1]) * self.width)


def join_rows(bank: Version, latents: Version, split: str) -> RowJoin:
    """Join two finished tables on image_id; some 400 bytes of memory a row.

    Raises:
        DataError: no row of ``split`` is in both, a picture's mirror image is missing, or shapes differ.
    """
    captions = _read(bank, ["image_id", "split", "label", "L", "width"])
    asked = np.flatnonzero(pc.equal(captions.column("split"), split).to_numpy())
    asked = asked[pc.sort_indices(captions.column("image_id").take(asked)).to_numpy()]
    moments = _read(latents, ["image_id", "flipped", "C", "h", "w"])
    places = _places_of(moments.column("image_id"), captions.column("image_id").take(asked))
    flipped = moments.column("flipped").to_numpy()
    is_encoded = _are_pairs(latents, moments, places, flipped, len(asked))
    rows = captions.take(asked[is_encoded])
    if not rows.num_rows:
        raise DataError(
            f"{bank.uri} and {latents.uri}: no image of the {split} split is in both. Look at their rejects."
        )
    channels, height, width = _only(latents, moments.filter(places != NOWHERE), ["C", "h", "w"])
    return RowJoin(
        image_ids=rows.column("image_id").combine_chunks(),
        labels=rows.column("label").to_numpy(),
        offsets=np.concatenate([[0], np.cumsum(rows.column("L").to_numpy(), dtype=np.int64)]),
        width=_only(bank, rows, ["width"])[0],
        shape=(2 * channels, height, width),
        bank_places=_inverse(asked[is_encoded], captions.num_rows),
        latents_places=np.where(places == NOWHERE, NOWHERE, (np.cumsum(is_encoded) - 1)[places]),
        flipped=flipped,
    )


def _read(version: Version, columns: list[str]) -> pa.Table:
    none = version.kind.schema.empty_table().select(columns)
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
    """Which of the images that are asked for stand there, as they are and mirrored."""
    asked = places != NOWHERE
    sides = np.bincount(2 * places[asked] + flipped[asked], minlength=2 * count).reshape(-1, 2)
    is_there: NDArray[np.bool_] = sides.sum(axis=1) > 0
    if len(odd := np.flatnonzero(is_there & (sides != 1).any(axis=1))):
        image_id = rows.column("image_id")[int(np.flatnonzero(places == odd[0])[0])]
        straight, mirrored = sides[odd[0]]
        raise DataError(
            f"{latents.uri}: image {image_id} stands there {straight} times as it is and {mirrored} times mirrored, "
            f"wanted once each; so do {len(odd):,} images in all. Delete this folder and run the encode stage again."
        )
    return is_there


def _only(version: Version, rows: pa.Table, columns: Sequence[str]) -> list[int]:
    """The one value that all rows have in each of some columns."""
    found = {name: pc.min_max(rows.column(name)).as_py() for name in columns}
    for name, values in found.items():
        if values["min"] != values["max"]:
            raise DataError(
                f"{version.uri}: {name} is {values['min']} in one row and {values['max']} in another, wanted one for "
                "all. Delete this folder and run its stage again."
            )
    return [values["min"] for values in found.values()]
