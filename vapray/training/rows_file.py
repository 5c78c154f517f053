"""Training rows file: Arrow IPC, one record batch, mapped into memory.

    image_id  string
    label     int32
    sided     uint8                     sides that the caption names: 1 left or right, 2 up or down
    moments   float16 [2, 2C, h, w]     the image, and its mirror image
    context   list of float16 [width]   one values buffer for all rows, and offsets into it
    teacher   int8 [2, F, g, g]         patch features of both, only with a teacher

Any Arrow reader opens it. A file is first written completely, with zeros in the large columns, and then filled in
place. A full disk is therefore a write error; otherwise touching a mapped page would kill the process.
"""

import math
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["RowsFile", "preallocate"]

_COLUMNS = ["image_id", "label", "sided", "moments", "context"]
TEACHER = "teacher"


class RowsFile:
    """Mapped file with its columns as arrays over the mapped bytes, without copies.

    Args:
        path: path of a file of :func:`preallocate`.
        writable: write changes of the arrays to the file.

    Attributes:
        labels: classes, int32 [N].
        sided: sides that captions name, bits 1 (left or right) and 2 (up or down), uint8 [N].
        moments: moments, float16 [N, 2, 2C, h, w].
        tokens: tokens of all contexts, concatenated, float16 [T, width].
        offsets: offsets, int64 [N + 1]; context n is ``tokens[offsets[n]:offsets[n + 1]]``.
        teacher: patch features of a teacher, int8 [N, 2, F, g, g]; None without one.

    Raises:
        ValueError: not a training rows file, or an incomplete one.
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
        self.sided = self._view(rows.column("sided").buffers()[1], "u1")
        self.moments = self._view(moments.storage.values.buffers()[1], "<f2").reshape(-1, *moments.type.shape)
        self.tokens = self._view(context.values.values.buffers()[1], "<f2").reshape(-1, width)
        self.offsets = self._view(context.buffers()[1], "<i8")
        self.teacher = None
        if TEACHER in rows.schema.names:
            features = rows.column(TEACHER)
            self.teacher = self._view(features.storage.values.buffers()[1], "i1").reshape(-1, *features.type.shape)
        steps = np.diff(self.offsets)
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.tokens) or (steps < 0).any():
            raise ValueError("its contexts are not contiguous")

    def forget_pages(self) -> None:
        """Release the touched pages, which otherwise count as memory of this process, up to the complete file.

        Written data is kept in the system's cache until it is on the disk.
        """
        self._bytes.madvise(mmap.MADV_DONTNEED)

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        return len(self._bytes)

    def sync(self) -> None:
        """Flush all changes to the disk."""
        self._bytes.flush()

    def _view(self, buffer: pa.Buffer, dtype: str) -> NDArray[Any]:
        kind = np.dtype(dtype)
        begin = buffer.address - self._address if buffer.size else 0  # an empty buffer may have any address
        return np.frombuffer(self._bytes, kind, buffer.size // kind.itemsize, begin)


def preallocate(
    path: Path,
    image_ids: pa.Array,
    labels: NDArray[Any],
    sided: NDArray[Any],
    offsets: NDArray[Any],
    shape: tuple[int, ...],
    width: int,
    teacher_shape: tuple[int, ...] | None = None,
) -> None:
    """Write a file whose moments, contexts and features are zeros.

    Args:
        path: path of the file.
        image_ids: ids of all rows, string [N].
        labels: classes, [N].
        sided: sides that captions name, as bits, [N].
        offsets: offsets of the contexts, [N + 1].
        shape: shape of moments, (2C, h, w).
        width: width of a token.
        teacher_shape: shape of a teacher's features, (F, g, g); None: no teacher.

    Raises:
        OSError: the file cannot be written.
    """
    tokens = pa.FixedSizeListArray.from_arrays(_zeros(int(offsets[-1]) * width), width)
    columns = [
        image_ids,
        pa.array(labels, pa.int32()),
        pa.array(sided, pa.uint8()),
        _zero_pairs(len(labels), shape, np.float16),
        pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), tokens),
    ]
    if teacher_shape is None:
        rows = pa.record_batch(columns, names=_COLUMNS)
    else:
        rows = pa.record_batch([*columns, _zero_pairs(len(labels), teacher_shape, np.int8)], names=[*_COLUMNS, TEACHER])
    with pa.ipc.new_file(path, rows.schema) as file:
        file.write_batch(rows)


def _zero_pairs(count: int, shape: tuple[int, ...], kind: type[np.generic]) -> pa.Array:
    """Create two arrays of zeros for each row: of the image and of its mirror image."""
    zeros = _zeros(count * 2 * math.prod(shape), kind)
    values = pa.FixedSizeListArray.from_arrays(zeros, 2 * math.prod(shape))
    return pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(zeros.type, [2, *shape]), values)


def _zeros(count: int, kind: type[np.generic] = np.float16) -> pa.Array:
    """Create zeros, which need no memory because their pages are not touched before they are written."""
    return pa.array(np.zeros(count, dtype=kind))


def _only_batch(whole: pa.Buffer) -> pa.RecordBatch:
    file = pa.ipc.open_file(pa.BufferReader(whole))
    if file.schema.names not in (_COLUMNS, [*_COLUMNS, TEACHER]) or file.num_record_batches != 1:
        raise ValueError(
            f"columns {file.schema.names} in {file.num_record_batches} batches, expected {_COLUMNS} in one"
        )
    return file.get_batch(0)
