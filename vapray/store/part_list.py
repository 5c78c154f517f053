"""Parts of a manifest, held as an array: an entry takes 60 bytes instead of 400."""

import hashlib
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vapray.store.parquet import read_table

__all__ = [
    "INLINE", "PART", "Part", "PartList", "is_part_name", "part_key", "part_name", "read_records", "write_records",
]  # fmt: skip

INLINE, ROWS_OF_A_PIECE = 1024, 4096
"""Number of parts up to which ``manifest.json`` has them itself, and of parts in a file of the others."""
SUFFIX = ".parquet"
PART = np.dtype([("name", "S12"), ("sha256", "S32"), ("bytes", "i8"), ("rows", "i4"), ("rejects", "i4")])
"""Entry of a part; name and digest as bytes."""


@dataclass(frozen=True)
class Part:
    """One committed Parquet file of a version."""

    name: str
    sha256: str
    bytes: int
    rows: int
    rejects: int


class PartList(Sequence[Part]):
    """Parts in their order; an entry is made when it is asked for.

    Args:
        entries: Array of :data:`PART`, [N].
    """

    def __init__(self, entries: NDArray[np.void]) -> None:
        self.entries = entries

    @classmethod
    def of(cls, parts: Iterable[Part]) -> Self:
        """Build from entries."""
        rows = ((part_key(p.name), bytes.fromhex(p.sha256), p.bytes, p.rows, p.rejects) for p in parts)
        return cls(np.fromiter(rows, dtype=PART))

    def total(self, field: str) -> int:
        """Sum of bytes, rows or rejects."""
        return int(self.entries[field].sum(dtype=np.int64))

    def to_json(self, write: Callable[[str, bytes], None]) -> dict[str, Any]:
        """Serialize for a manifest: the parts, or files of them.

        Args:
            write: Stores a file under a name; each name has one content.
        """
        if len(self) <= INLINE:
            return {"parts": [vars(part) for part in self]}
        pieces = []
        for begin in range(0, len(self), ROWS_OF_A_PIECE):
            piece = self.entries[begin : begin + ROWS_OF_A_PIECE]
            data = write_records(piece)
            digest = hashlib.sha256(data).hexdigest()
            write(digest[:24] + SUFFIX, data)
            pieces.append({"name": digest[:24] + SUFFIX, "sha256": digest, "parts": len(piece)})
        return {"pieces": pieces}

    @classmethod
    def from_json(cls, card: dict[str, Any], read: Callable[[str], bytes | None]) -> Self:
        """Parse :meth:`to_json`, and verify the files.

        Raises:
            ValueError: a file is missing or differs.
        """
        if "parts" in card:
            return cls.of(Part(**part) for part in card["parts"])
        entries = np.empty(sum(piece["parts"] for piece in card["pieces"]), PART)
        begin = 0
        for piece in card["pieces"]:
            data = read(piece["name"])
            if data is None or hashlib.sha256(data).hexdigest() != piece["sha256"]:
                raise ValueError(f"manifest/{piece['name']} is missing or differs")
            entries[begin : begin + piece["parts"]] = read_records(data, PART)
            begin += piece["parts"]
        return cls(entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Part]:
        return map(_part, self.entries)

    @overload
    def __getitem__(self, place: int) -> Part: ...

    @overload
    def __getitem__(self, place: slice) -> Self: ...

    def __getitem__(self, place: int | slice) -> Part | Self:
        return type(self)(self.entries[place]) if isinstance(place, slice) else _part(self.entries[place])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PartList) and np.array_equal(self.entries, other.entries)

    def __hash__(self) -> int:
        return hash(self.entries.tobytes())


def _part(entry: np.void) -> Part:
    name, sha256, size, rows, rejects = tuple(entry.tolist())
    return Part(part_name(name), sha256.ljust(32, b"\0").hex(), size, rows, rejects)


def is_part_name(name: str) -> bool:
    """Tell whether a file is a part; people and programs leave others beside them."""
    return re.fullmatch(r"[0-9a-f]{24}\.parquet", name) is not None


def part_key(name: str) -> bytes:
    """The hash in the name of a part, 12 bytes."""
    return bytes.fromhex(name.removesuffix(SUFFIX))


def part_name(key: bytes) -> str:
    """Name of the part with this hash; numpy drops zeros at the end of a key."""
    return key.ljust(12, b"\0").hex() + SUFFIX


def write_records(records: NDArray[np.void]) -> bytes:
    """Write an array of records as a Parquet file with their fields as columns."""
    assert records.dtype.names
    buffer = io.BytesIO()
    table = pa.table({name: _column(records[name]) for name in records.dtype.names})
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def read_records(data: bytes, kind: np.dtype[np.void]) -> NDArray[np.void]:
    """Read :func:`write_records`.

    Raises:
        ValueError, OSError, pyarrow.ArrowException: the file is damaged.
    """
    assert kind.names
    table = read_table(io.BytesIO(data), kind.names)
    records = np.empty(table.num_rows, kind)
    for name in kind.names:
        records[name] = table[name].to_numpy()
    return records


def _column(values: NDArray[Any]) -> pa.Array:
    if values.dtype.kind != "S":
        return pa.array(values)
    buffer = pa.py_buffer(np.ascontiguousarray(values))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(values.dtype.itemsize), len(values), [None, buffer])
