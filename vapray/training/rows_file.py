"""The file of the training rows: Arrow IPC, one record batch, mapped into memory.

    image_id  string
    label     int32
    moments   float16 [2, 2C, h, w]     the picture, and its mirror image
    context   list of float16 [width]   one values buffer for all rows, and offsets into it

Any Arrow reader opens it. A file is first written whole, with zeros for what is large, and then filled in place: so a
full disk is an error while it is written, not the end of the process when a page of it is touched.
"""

import math
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["RowsFile", "write_unfilled"]

_COLUMNS = ["image_id", "label", "moments", "context"]


class RowsFile:
    """A mapped file and its columns as arrays over the mapped bytes; nothing is copied.

    Args:
        path: of a file that :func:`write_unfilled` began.
        writable: whether what is put into the arrays goes into the file.

    Attributes:
        labels: int32 [N].
        moments: float16 [N, 2, 2C, h, w].
        tokens: float16 [T, width], all contexts, one behind the other.
        offsets: int64 [N + 1]; context n is ``tokens[offsets[n]:offsets[n + 1]]``.

    Raises:
        ValueError: it is no such file, or not a whole one.
    """

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        with open(path, "r+b" if writable else "rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ)
        whole = pa.py_buffer(self._bytes)
        self._address = whole.address
        rows = _only_batch(whole)
        moments, context = rows.column("moments"), rows.column("context")
        width = context.type.value_type.list_size
        self.labels = self._view(rows.column("label").buffers()[1], "<i4")
        self.moments = self._view(moments.storage.values.buffers()[1], "<f2").reshape(-1, *moments.type.shape)
        self.tokens = self._view(context.values.values.buffers()[1], "<f2").reshape(-1, width)
        self.offsets = self._view(context.buffers()[1], "<i8")
        steps = np.diff(self.offsets)
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.tokens) or (steps < 0).any():
            raise ValueError("its contexts do not lie one behind the other")

    def forget_pages(self) -> None:
        """Let go of the pages that were touched: they would count as this process's memory, up to the whole file.

        What was written stays: the system's cache holds it until it is on the disk.
        """
        self._bytes.madvise(mmap.MADV_DONTNEED)

    def sync(self) -> None:
        """Return when all that was put in is on the disk."""
        self._bytes.flush()

    def _view(self, buffer: pa.Buffer, dtype: str) -> NDArray[Any]:
        kind = np.dtype(dtype)
        begin = buffer.address - self._address if buffer.size else 0  # an empty buffer may lie anywhere
        return np.frombuffer(self._bytes, kind, buffer.size // kind.itemsize, begin)


def write_unfilled(
    path: Path, image_ids: pa.Array, labels: NDArray[Any], offsets: NDArray[Any], shape: tuple[int, ...], width: int
) -> None:
    """Write a file whose moments and contexts are zeros.

    Args:
        path: where.
        image_ids: of all rows, string.
        labels: [N].
        offsets: [N + 1].
        shape: 2C, h and w.
        width: of a token.

    Raises:
        OSError: the disk does not take it.
    """
    moments_type = pa.fixed_shape_tensor(pa.float16(), [2, *shape])
    moments = pa.FixedSizeListArray.from_arrays(_zeros(len(labels) * 2 * math.prod(shape)), 2 * math.prod(shape))
    tokens = pa.FixedSizeListArray.from_arrays(_zeros(int(offsets[-1]) * width), width)
    columns = [
        image_ids,
        pa.array(labels, pa.int32()),
        pa.ExtensionArray.from_storage(moments_type, moments),
        pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), tokens),
    ]
    rows = pa.record_batch(columns, names=_COLUMNS)
    with pa.ipc.new_file(path, rows.schema) as file:
        file.write_batch(rows)


def _zeros(count: int) -> pa.Array:
    """Never touched before they are written out, so they take no memory."""
    return pa.array(np.zeros(count, dtype=np.float16))


def _only_batch(whole: pa.Buffer) -> pa.RecordBatch:
    file = pa.ipc.open_file(pa.BufferReader(whole))
    if file.schema.names != _COLUMNS or file.num_record_batches != 1:
        raise ValueError(f"columns {file.schema.names} in {file.num_record_batches} batches, wanted {_COLUMNS} in one")
    return file.get_batch(0)
