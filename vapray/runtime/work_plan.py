"""Work items of a map: the rows of a source that have no result yet, cut into spans.

A span is a range of rows of one source part. Which rows have a result is known from the receipts of the output, and how
many rows a source part has from its manifest: neither is opened. Only source parts with rejects, or of which rows are
selected, are read, in the columns that decide it.
"""

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vapray.store.manifest import Part
from vapray.store.parts import read_ahead
from vapray.store.receipts import Span, source_key
from vapray.store.tables import REJECT
from vapray.store.version import Version

__all__ = ["Where", "WorkItem", "WorkPlan", "read_item", "stretch_length", "work_items"]

Where = Mapping[str, Sequence[str]]
"""Accepted values by column."""
ITEMS_OF_A_STRETCH = 16
"""Most work items that the driver hands out at once: a block of Ray Data takes 4 KB of its memory."""


@dataclass(frozen=True)
class WorkItem:
    """A span of a source, and the entry of its part in the source's manifest; None while the source is not sealed."""

    span: Span
    listed: Part | None


class WorkPlan:
    """Work items in the order of the source's parts; 16 bytes each.

    Args:
        parts: Parts of the source.
        items: Columns place of the part, begin, end and number of selected rows of each item, int32 [N, 4].
        is_sealed: The parts are entries of a manifest.
    """

    def __init__(self, parts: Sequence[Part], items: NDArray[np.int32], *, is_sealed: bool) -> None:
        self._parts, self._items, self._is_sealed = parts, items, is_sealed

    def __len__(self) -> int:
        return len(self._items)

    @property
    def rows(self) -> int:
        """Number of rows to map."""
        return int(self._items[:, 3].sum())

    def __iter__(self) -> Iterator[WorkItem]:
        place, part = -1, None
        for item in self._items:
            if item[0] != place:
                place, part = int(item[0]), self._parts[int(item[0])]
            assert part is not None
            span = Span(part.name, int(item[1]), int(item[2]), int(item[3]))
            yield WorkItem(span, part if self._is_sealed else None)

    def stretches(self, actors: int) -> Iterator[str]:
        """Serialize consecutive items together, as many as keep that many actors busy; for :func:`work_items`."""
        length, items = stretch_length(len(self), actors), iter(self)
        for _ in range(0, len(self), length):
            parts: dict[str, dict[str, Any]] = {}
            for item in islice(items, length):
                of_part = parts.setdefault(item.span.source, {"listed": vars(item.listed) if item.listed else None})
                of_part.setdefault("spans", []).append((item.span.begin, item.span.end, item.span.asked))
            yield json.dumps(parts, separators=(",", ":"))

    def split(self, rows: int) -> tuple["WorkPlan", "WorkPlan"]:
        """Split off items with at least so many rows, spread over the source: its parts may be sorted by class."""
        stride = max(1, self.rows // max(1, rows))
        order = np.argsort(np.arange(len(self)) % stride, kind="stable")
        taken, rest = [], []
        for place in order:
            part, begin, end, asked = (int(value) for value in self._items[place])
            if rows <= 0:
                rest.append((part, begin, end, asked))
            elif asked > rows and asked == end - begin:
                taken.append((part, begin, begin + rows, rows))
                rest.append((part, begin + rows, end, asked - rows))
            else:
                taken.append((part, begin, end, asked))
            rows -= asked
        return tuple(WorkPlan(self._parts, _sorted(some), is_sealed=self._is_sealed) for some in (taken, rest))  # type: ignore[return-value]

    @classmethod
    def of(cls, source: Version, done: NDArray[np.void], batch_rows: int, where: Where | None) -> tuple[Self, int]:
        """Plan what is left, and count all selected rows, including those that have a result.

        Args:
            source: Finished version, or one whose parts are all committed.
            done: Spans that have a result, array of :data:`vapray.store.receipts.SPAN`.
            batch_rows: Number of selected rows of an item.
            where: Accepted values by column; None selects all rows that are no rejects.

        Raises:
            DataError: a source part is missing or damaged.
        """
        manifest = source.manifest()
        parts: Sequence[Part] = (
            manifest.parts if manifest else [Part(name, "", 0, 0, 1) for name in source.part_names()]
        )
        with_result, asked, items = _Done(done), 0, array("i")
        dense = [not where and not part.rejects for part in parts]
        read = read_ahead(
            lambda name: _selected(source, name, where),
            [part.name for part, is_dense in zip(parts, dense, strict=True) if not is_dense],
        )
        for place, (part, is_dense) in enumerate(zip(parts, dense, strict=True)):
            selected = range(part.rows) if is_dense else next(read)
            asked += len(selected)
            for first, last in _gaps(with_result.of(part.name), selected):
                for begin in range(first, last, batch_rows):
                    end = min(begin + batch_rows, last)
                    items.extend((place, int(selected[begin]), int(selected[end - 1]) + 1, end - begin))
        columns = np.frombuffer(items, dtype=np.int32).reshape(-1, 4) if items else np.empty((0, 4), np.int32)
        return cls(parts, columns, is_sealed=manifest is not None), asked


def stretch_length(items: int, actors: int) -> int:
    """Number of work items that are handed out together: 1, unless each actor has many."""
    return min(ITEMS_OF_A_STRETCH, max(1, items // (ITEMS_OF_A_STRETCH * max(1, actors))))


def _sorted(items: list[tuple[int, int, int, int]]) -> NDArray[np.int32]:
    return np.array(sorted(items), dtype=np.int32).reshape(-1, 4)


def _selected(source: Version, name: str, where: Where | None) -> NDArray[np.int64]:
    rows = source.read_part(name, [REJECT, *(where or {})])
    selected: NDArray[np.int64] = pc.indices_nonzero(_is_selected(rows, where)).to_numpy().astype(np.int64)
    return selected


def _is_selected(rows: pa.Table, where: Where | None) -> pa.ChunkedArray:
    selected = pc.is_null(rows.column(REJECT))
    for column, values in (where or {}).items():
        selected = pc.and_(selected, pc.is_in(rows.column(column), pa.array(values)))
    return selected


class _Done:
    """Spans that have a result, by source part."""

    def __init__(self, spans: NDArray[np.void]) -> None:
        ordered = spans[np.argsort(spans, order=("source", "begin"))]
        self._sources, self._begin, self._end = (ordered[name] for name in ("source", "begin", "end"))

    def of(self, source: str) -> Iterator[tuple[int, int]]:
        """Spans of a source part, sorted by their first row."""
        key = np.array(source_key(source), dtype=self._sources.dtype)
        first, last = np.searchsorted(self._sources, key, "left"), np.searchsorted(self._sources, key, "right")
        return zip(self._begin[first:last].tolist(), self._end[first:last].tolist(), strict=True)


def _gaps(done: Iterable[tuple[int, int]], selected: Sequence[int] | NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of places in ``selected`` whose rows are in no span; spans are sorted by their first row."""
    at = 0
    for begin, end in done:
        first, last = _place(selected, begin), _place(selected, end)
        if at < first:
            yield at, first
        at = max(at, last)
    if at < len(selected):
        yield at, len(selected)


def _place(selected: Sequence[int] | NDArray[np.int64], row: int) -> int:
    return min(row, len(selected)) if isinstance(selected, range) else int(np.searchsorted(selected, row))


def work_items(stretch: str) -> Iterator[WorkItem]:
    """Parse an element of :meth:`WorkPlan.stretches`."""
    for name, of_part in json.loads(stretch).items():
        listed = Part(**of_part["listed"]) if of_part["listed"] else None
        for begin, end, asked in of_part["spans"]:
            yield WorkItem(Span(name, begin, end, asked), listed)


def read_item(source: Version, item: WorkItem, columns: Sequence[str], where: Where | None) -> pa.Table:
    """Read the rows of a work item.

    Raises:
        DataError: the source part is missing or damaged.
    """
    span, read = item.span, dict.fromkeys([*columns, REJECT, *(where or {})])
    rows = source.read_part(span.source, [*read], item.listed).slice(span.begin, span.end - span.begin)
    return rows.filter(_is_selected(rows, where)).select(list(columns))
