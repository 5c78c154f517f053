"""Copying of the tables ``prompt_bank`` and ``latents`` into the training rows file, part by part."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vapray.errors import DataError
from vapray.store.version import Version
from vapray.training.row_join import NOWHERE, RowJoin
from vapray.training.rows_file import RowsFile, preallocate

__all__ = ["write_rows"]

FLOAT16 = np.dtype("<f2")


def write_rows(path: Path, bank: Version, latents: Version, join: RowJoin) -> None:
    """Write the file and flush it to the disk.

    Raises:
        DataError: a row has another size than its shape, or the disk is full.
    """
    with _room_for(path, join.nbytes):
        preallocate(
            path, join.image_ids, join.labels, join.sided, join.offsets, join.shape, join.width, join.teacher_shape
        )
        file = RowsFile(path, writable=True)
    _fill_contexts(file, bank, join)
    _fill_pairs(file.moments, "moments", file, latents, join)
    if file.teacher is not None:
        _fill_pairs(file.teacher, "teacher", file, latents, join)
    with _room_for(path, join.nbytes):
        file.sync()


@contextmanager
def _room_for(path: Path, size: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise DataError(
            f"{path}: {size:,} bytes of training rows could not be written ({reason}). Fix: free space or set "
            "TMPDIR to a larger disk, then rerun the same command."
        ) from error


def _fill_contexts(file: RowsFile, bank: Version, join: RowJoin) -> None:
    for places, contexts, _ in _wanted(bank, "context", join.bank_places):
        lengths = np.diff(join.offsets)[places]
        values = _values(bank, contexts, lengths * join.width, join.image_ids.take(places))
        within = np.arange(lengths.sum()) - (np.cumsum(lengths) - lengths).repeat(lengths)
        file.tokens[join.offsets[places].repeat(lengths) + within] = values.reshape(-1, join.width)
        file.forget_pages()


def _fill_pairs(filled: NDArray[Any], column: str, file: RowsFile, latents: Version, join: RowJoin) -> None:
    """Fill an array [N, 2, ...] with a column's values of images and their mirror images."""
    shape = filled.shape[2:]
    for places, cells, rows in _wanted(latents, column, join.latents_places):
        sizes = np.full(len(places), int(np.prod(shape)))
        values = _values(latents, cells, sizes, join.image_ids.take(places), filled.dtype)
        filled[places, join.flipped[rows].astype(np.int64)] = values.reshape(-1, *shape)
        file.forget_pages()


def _wanted(
    version: Version, column: str, places: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], pa.Array, NDArray[np.int64]]]:
    """Iterate over chunks of a table with training rows: positions, values, and row numbers in the table."""
    begin = 0
    for part in version.read_parts([column]):
        for batch in part.to_batches():
            rows = begin + np.flatnonzero(places[begin : begin + len(batch)] != NOWHERE)
            if len(rows):
                yield places[rows], batch.column(column).take(rows - begin), rows
            begin += len(batch)


def _values(
    version: Version,
    cells: pa.Array,
    sizes: NDArray[np.int64],
    image_ids: pa.Array,
    kind: np.dtype[Any] = FLOAT16,
) -> NDArray[Any]:
    """Concatenate the values of some binary cells."""
    _, offsets, data = cells.buffers()
    ends = np.frombuffer(offsets, np.int32)[cells.offset : cells.offset + len(cells) + 1]
    if len(odd := np.flatnonzero(np.diff(ends) != kind.itemsize * sizes)):
        raise DataError(
            f"{version.uri}: image {image_ids[odd[0]]} has {np.diff(ends)[odd[0]]:,} bytes, "
            f"expected {kind.itemsize * sizes[odd[0]]:,} for its shape. Fix: delete this folder and rerun its stage."
        )
    return np.frombuffer(data, np.uint8)[ends[0] : ends[-1]].view(kind)
