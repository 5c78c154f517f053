"""Copying of the tables ``prompt_bank`` and ``latents`` into the training rows file, part by part.

Copied parts are noted beside the file, so that the next copy after a kill reads the other parts only.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vapray.errors import DataError
from vapray.store.tables import REJECT
from vapray.store.version import Version
from vapray.training.row_join import NOWHERE, RowJoin
from vapray.training.rows_file import RowsFile, preallocate

__all__ = ["FILLED", "NOTING", "write_rows"]

FLOAT16 = np.dtype("<f2")
FILLED, NOTING = ".filled", ".noting"
"""Suffixes of the file that notes which parts are copied, and of that file before it is complete."""
SECONDS_BETWEEN_NOTES = 10.0


def write_rows(path: Path, bank: Version, latents: Version, join: RowJoin) -> None:
    """Write the file, or the rest of one that a killed call left, and flush it to the disk.

    Args:
        path: path of the file; the same path stands for the same tables.
        bank: finished table of captions and contexts.
        latents: finished table of moments.
        join: join of both.

    Raises:
        DataError: a row has another size than its shape, or the disk is full.
    """
    with _room_for(path, join.nbytes):
        copied = _Copied.open(path) or _Copied.begin(path, join)
    file = copied.file
    _fill_contexts(copied, bank, join)
    _fill_pairs(copied, file.moments, "moments", latents, join)
    if file.teacher is not None:
        _fill_pairs(copied, file.teacher, "teacher", latents, join)
    with _room_for(path, join.nbytes):
        file.sync()


class _Copied:
    """Rows file and its copied parts: for each column the number of parts, and of their table rows."""

    def __init__(self, path: Path, parts: dict[str, tuple[int, int]]) -> None:
        self.file = RowsFile(path, writable=True)
        self._notes, self._parts, self._noted = path.with_suffix(FILLED), parts, time.monotonic()

    @classmethod
    def begin(cls, path: Path, join: RowJoin) -> "_Copied":
        """Create the file, with zeros in the large columns."""
        path.with_suffix(FILLED).unlink(missing_ok=True)
        preallocate(
            path, join.image_ids, join.labels, join.sided, join.offsets, join.shape, join.width, join.teacher_shape
        )
        copied = cls(path, {})
        copied.file.sync()  # before the note, which says that all small columns are there
        copied._write()
        return copied

    @classmethod
    def open(cls, path: Path) -> "_Copied | None":
        """Open a file of an earlier call; None if there is none, or it was not created completely."""
        try:
            parts = json.loads(path.with_suffix(FILLED).read_text())
            return cls(path, {column: (int(done), int(rows)) for column, (done, rows) in dict(parts).items()})
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def parts_of(self, column: str) -> tuple[int, int]:
        """Get the number of copied parts of a column, and of their table rows."""
        return self._parts.get(column, (0, 0))

    def add(self, column: str, parts: int, rows: int) -> None:
        """Note copied parts of a column, at most every ten seconds, after their rows are on the disk."""
        self._parts[column] = (parts, rows)
        if time.monotonic() - self._noted >= SECONDS_BETWEEN_NOTES:
            with _room_for(self._notes, self.file.size):
                self.file.sync()
            with contextlib.suppress(OSError):  # a full disk: after a kill, more parts are copied again
                self._write()

    def _write(self) -> None:
        unfinished = self._notes.with_suffix(NOTING)
        unfinished.write_text(json.dumps(self._parts))
        os.replace(unfinished, self._notes)
        self._noted = time.monotonic()


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


def _fill_contexts(copied: _Copied, bank: Version, join: RowJoin) -> None:
    file = copied.file
    for places, contexts, _ in _wanted(copied, bank, "context", join.bank_places):
        lengths = np.diff(join.offsets)[places]
        values = _values(bank, contexts, lengths * join.width, join.image_ids.take(places))
        within = np.arange(lengths.sum()) - (np.cumsum(lengths) - lengths).repeat(lengths)
        file.tokens[join.offsets[places].repeat(lengths) + within] = values.reshape(-1, join.width)
        file.forget_pages()


def _fill_pairs(copied: _Copied, filled: NDArray[Any], column: str, latents: Version, join: RowJoin) -> None:
    """Fill an array [N, 2, ...] with a column's values of images and their mirror images."""
    shape = filled.shape[2:]
    for places, cells, rows in _wanted(copied, latents, column, join.latents_places):
        sizes = np.full(len(places), int(np.prod(shape)))
        values = _values(latents, cells, sizes, join.image_ids.take(places), filled.dtype)
        filled[places, join.flipped[rows].astype(np.int64)] = values.reshape(-1, *shape)
        copied.file.forget_pages()


def _wanted(
    copied: _Copied, version: Version, column: str, places: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], pa.Array, NDArray[np.int64]]]:
    """Iterate over chunks of a table with training rows, from the first part that is not copied.

    A chunk has positions, values, and row numbers in the table, which count no rejects.
    """
    done, begin = copied.parts_of(column)
    for number, name in enumerate(version.part_names()[done:], done + 1):
        part = version.read_part(name, [column, REJECT])
        for batch in part.filter(pc.is_null(part.column(REJECT))).to_batches():
            rows = begin + np.flatnonzero(places[begin : begin + len(batch)] != NOWHERE)
            if len(rows):
                yield places[rows], batch.column(column).take(rows - begin), rows
            begin += len(batch)
        copied.add(column, number, begin)


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
