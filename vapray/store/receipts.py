"""Receipts: what is known of a committed part without opening it.

    <table>/<fingerprint>/receipts/000017.parquet    up to ``ROWS_OF_A_PIECE`` receipts, or those of ``SECONDS``

The holder of the lease writes them while parts are committed. A receipt has the part's digest, size and counts, and its
span: the rows of the source part that it is the result of. A resumed stage computes the rows in no span, and sealing
checks that spans do not overlap; neither opens a part that has a receipt. A part also carries its span, so that the one
of a driver that was killed before it wrote the receipt is adopted from the part itself.

A receipt takes 84 bytes. The driver holds no more than a piece of them while parts are committed.
"""

import contextlib
import hashlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vapray.store.files import FileStore
from vapray.store.part_list import PART, Part, PartList, is_part_name, part_key, part_name, read_records, write_records

__all__ = ["SPAN", "Receipt", "ReceiptLog", "Span", "overlapping", "source_key"]

SUFFIX = ".parquet"
ROWS_OF_A_PIECE, SECONDS = 1024, 10.0
MANY_PIECES = 16
"""Number of pieces of few receipts above which a resumed stage writes them as one."""
_SPAN = [("source", "S12"), ("begin", "i4"), ("end", "i4"), ("asked", "i4")]
SPAN = np.dtype([("name", "S12"), *_SPAN])
"""Name of a part and its span; an empty source: it has none."""
_RECEIPT = np.dtype([*((name, PART[name]) for name in PART.names or ()), *_SPAN])
_ENTRY = np.dtype([("name", "S12"), ("bytes", "i8")])


@dataclass(frozen=True)
class Span:
    """Rows of a source of which a part is the result.

    Attributes:
        source: Name of the source part, or a name for rows that come from no part.
        begin: First row.
        end: Row after the last one.
        asked: Number of rows in it that were mapped; others are rejects of the source, or not selected.
    """

    source: str
    begin: int
    end: int
    asked: int

    def to_text(self) -> str:
        """Serialize for the metadata of a part."""
        return f"{self.begin} {self.end} {self.asked} {self.source}"

    @classmethod
    def whole(cls, source: str, rows: int) -> "Span":
        """Span of all rows of something that is no part."""
        return cls(source, 0, rows, rows)

    @classmethod
    def from_text(cls, text: str) -> "Span":
        """Parse :meth:`to_text`."""
        begin, end, asked, source = text.split(" ", 3)
        return cls(source, int(begin), int(end), int(asked))


@dataclass(frozen=True)
class Receipt:
    """A committed part and its span; None if the part has none."""

    part: Part
    span: Span | None

    def record(self) -> tuple[object, ...]:
        """Fields as they are written."""
        part, span = self.part, self.span
        known = (part_key(part.name), bytes.fromhex(part.sha256), part.bytes, part.rows, part.rejects)
        return (*known, source_key(span.source), span.begin, span.end, span.asked) if span else (*known, b"", 0, 0, 0)


class ReceiptLog:
    """Receipts of one version.

    Args:
        files: Store that holds the run.
        folder: Folder of the version, relative to the store root.

    Attributes:
        spans: Spans of the receipts that the last :meth:`read` found, array of :data:`SPAN`.
        rows: Number of rows in parts with a receipt.
        rejects: Number of rejects in them.
        was_read: :meth:`read` was called.
    """

    def __init__(self, files: FileStore, folder: str) -> None:
        self._files, self._folder = files, f"{folder}/receipts"
        self._added: list[tuple[object, ...]] = []
        self._number, self._last = -1, time.monotonic()
        self.spans = np.empty(0, SPAN)
        self.rows = self.rejects = 0
        self.was_read = False

    def read(self, entries: Iterable[tuple[str, int]]) -> list[str]:
        """Read the receipts of parts that exist with their size; those not flushed are forgotten.

        A damaged piece is skipped, because its parts can be adopted.

        Args:
            entries: Names and sizes in bytes of the parts that exist.

        Returns:
            Names of the parts that have no receipt, sorted.
        """
        existing = np.fromiter(((part_key(name), size) for name, size in entries), dtype=_ENTRY)
        existing.sort(order="name")
        found, spans = np.zeros(len(existing), np.bool_), []
        self._added, self.rows, self.rejects, self.was_read = [], 0, 0, True
        for piece in self._pieces():
            places = np.searchsorted(existing["name"], piece["name"]).clip(max=max(0, len(existing) - 1))
            known = np.zeros(len(piece), np.bool_)
            if len(existing):
                known = (existing[places]["name"] == piece["name"]) & (existing[places]["bytes"] == piece["bytes"])
                known &= ~found[places]
            known[known] = _first(piece["name"][known])
            found[places[known]] = True
            spans.append(piece[known][[*(SPAN.names or ())]].astype(SPAN))
            self.rows += int(piece["rows"][known].sum())
            self.rejects += int(piece["rejects"][known].sum())
        self.spans = np.concatenate([np.empty(0, SPAN), *spans])
        return [part_name(key) for key in existing["name"][~found].tolist()]

    def parts(self) -> PartList:
        """Parts of the receipts that :meth:`read` found, sorted by name; their spans are forgotten."""
        names, self.spans = np.sort(self.spans["name"]), np.empty(0, SPAN)
        entries = np.empty(len(names), PART)
        for piece in self._pieces() if len(names) else ():
            places = np.searchsorted(names, piece["name"]).clip(max=len(names) - 1)
            known = names[places] == piece["name"]
            entries[places[known]] = piece[known][[*(PART.names or ())]].astype(PART)
        return PartList(entries)

    def compact(self) -> None:
        """Write many pieces of few receipts as one."""
        names = self._names()
        if len(names) <= MANY_PIECES + len(self.spans) // ROWS_OF_A_PIECE:
            return
        self._write(np.concatenate([*self._pieces()]))
        for name in names:
            self._files.remove(f"{self._folder}/{name}")

    def add(self, receipts: Iterable[Receipt]) -> None:
        """Add receipts, and write them if there are many, or some for a while."""
        for receipt in receipts:
            self._added.append(receipt.record())
            self.rows += receipt.part.rows
            self.rejects += receipt.part.rejects
            if len(self._added) >= ROWS_OF_A_PIECE or time.monotonic() - self._last > SECONDS:
                self.flush()

    def flush(self) -> None:
        """Write the receipts that were added since the last call."""
        if self._added:
            self._write(np.array(self._added, _RECEIPT))
            self._added = []
        self._last = time.monotonic()

    def _names(self) -> list[str]:
        names = self._files.names(self._folder)
        return [name for name in names if name.endswith(SUFFIX) and name.removesuffix(SUFFIX).isdecimal()]

    def _pieces(self) -> Iterator[NDArray[np.void]]:
        for name in self._names():
            self._number = max(self._number, int(name.removesuffix(SUFFIX)))
            data = self._files.read(f"{self._folder}/{name}")
            with contextlib.suppress(OSError, pa.ArrowException, ValueError):
                yield read_records(data or b"", _RECEIPT)

    def _write(self, receipts: NDArray[np.void]) -> None:
        data = write_records(receipts)
        while True:
            self._number += 1
            if self._files.create_exclusive(f"{self._folder}/{self._number:06d}{SUFFIX}", data):
                return


def source_key(name: str) -> bytes:
    """Key of a source in receipts: the hash in a part's name, or that of another name."""
    return part_key(name) if is_part_name(name) else hashlib.sha256(name.encode()).digest()[:12]


def overlapping(spans: NDArray[np.void]) -> NDArray[np.bool_]:
    """Mark parts whose rows another one may have too: those of a source with spans that overlap; all, if one has none.

    Args:
        spans: Array of :data:`SPAN`, [N].
    """
    if (spans["source"] == b"").any():
        return np.ones(len(spans), np.bool_)
    ordered = spans[np.argsort(spans, order=("source", "begin"))]
    meet = (ordered["source"][1:] == ordered["source"][:-1]) & (ordered["begin"][1:] < ordered["end"][:-1])
    return np.isin(spans["source"], ordered["source"][1:][meet])


def _first(keys: NDArray[np.bytes_]) -> NDArray[np.bool_]:
    """Mark the first occurrence of each key."""
    marked = np.zeros(len(keys), np.bool_)
    marked[np.unique(keys, return_index=True)[1]] = True
    return marked
