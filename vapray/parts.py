"""The parts of a version: immutable Parquet files, each named by the hash of its sorted keys.

A part is created by one complete write, which the first of several writers wins. What an unsealed part says of itself
is checked by :meth:`PartFolder.open`: its pages carry checksums, its columns are known, its keys make its name. A
sealed part is held against the sha256 in the manifest as well.
"""

import hashlib
import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import IO, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vapray.errors import DataError
from vapray.files import FileStore
from vapray.manifest import Part
from vapray.tables import REJECT, Table

__all__ = ["PartFolder", "all_differ", "first_times", "hashes_of", "read_ahead"]

Found = TypeVar("Found")

HASHED_WHOLE_BYTES = 32 * 2**20
"""A sealed part up to this size is hashed (0.1 s at most) when a process first opens it. A larger one only when all
of its columns are read: some of its columns would otherwise cost the whole file, and their pages have checksums."""

READERS = 8
"""Parts that are looked at at the same time; what an object store is asked for is mostly waited for."""
MANY = 200
"""Parts of which it is said that they are looked at, for it takes a while."""

# What pyarrow raises for damaged Parquet: a page whose checksum fails is an OSError, a footer can be any of these.
_DAMAGE = (OSError, pa.ArrowException, ValueError)


class PartFolder:
    """The parts of one version.

    Args:
        files: where.
        folder: below it.
        kind: the columns.
    """

    def __init__(self, files: FileStore, folder: str, kind: Table) -> None:
        self._files, self._folder, self._kind = files, folder, kind
        self._hashed: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_hashed": set()}  # every process looks for itself

    def names(self) -> list[str]:
        """Of all that is committed, sorted."""
        return [name for name in self._files.names(self._folder) if name.endswith(".parquet")]

    def create(self, rows: pa.Table) -> Part:
        """Commit rows; returns what stands there afterwards, which may be another writer's part of the same keys."""
        rows = rows.cast(self._kind.schema)
        name = _name(rows.column(self._kind.key).to_pylist())
        data = _encode(rows)
        if not self._files.create(self._path(name), data):
            if standing := self.open(name):
                return standing[0]
            self._files.write(self._path(name), data)
        return _describe(name, data, rows)

    def open(self, name: str) -> tuple[Part, pa.Table] | None:
        """A part read whole, or None if it is missing or damaged by all that it says of itself."""
        data = self._files.read(self._path(name))
        if data is None:
            return None
        try:
            rows = _read(io.BytesIO(data), self._kind.schema.names)
            whole = rows.schema.equals(self._kind.schema) and _name(rows.column(self._kind.key).to_pylist()) == name
        except (*_DAMAGE, TypeError):
            return None
        return (_describe(name, data, rows), rows) if whole else None

    def read(self, name: str, columns: Sequence[str] | None, listed: Part | None) -> pa.Table:
        """Columns of a part, all by default.

        Args:
            name: of the part.
            columns: which.
            listed: its line in the manifest, if the version is sealed.

        Raises:
            DataError: the part is missing or damaged.
        """
        wanted = [*dict.fromkeys(columns or self._kind.schema.names)]
        try:
            if listed and name not in self._hashed and (columns is None or listed.bytes <= HASHED_WHOLE_BYTES):
                return _read(io.BytesIO(self._unchanged(listed)), wanted)
            with self._files.open(self._path(name)) as file:
                return _read(file, wanted)
        except _DAMAGE as error:
            raise self._damaged(name, str(error).splitlines()[0], is_sealed=listed is not None) from None

    def mend(self, say: Callable[[str], None]) -> None:
        """Remove what killed writers left half-written, and parts that are damaged."""
        self._files.sweep(self._folder)
        names = self.names()
        if len(names) > MANY:
            say(f"{self._files.path(self._folder)}: looking at the {len(names):,} parts of an earlier run")
        for name, found in self._look_at(names):
            if found is None:
                say(f"{self._files.path(self._path(name))}: a damaged part; removed, its rows are made again")
                self._files.remove(self._path(name))

    def settle(self) -> Iterator[Part]:
        """Parts that hold every key once: what an earlier one has already is left out of a later one.

        Raises:
            DataError: a part was damaged since it was written.
        """
        parts, hashes = [], []
        for name, found in self._look_at(self.names()):
            if found is None:
                raise self._damaged(name, "its checksums do not fit", is_sealed=False)
            parts.append(found[0])
            hashes.append(found[1])
        if all_differ(hashes):
            yield from parts
            return
        taken: set[str] = set()
        for part in parts:
            rows = self.read(part.name, None, None)
            fresh = first_times(rows.column(self._kind.key).to_pylist(), taken)
            if any(fresh):
                yield part if all(fresh) else self.create(rows.filter(pa.array(fresh)))

    def _look_at(self, names: Sequence[str]) -> Iterator[tuple[str, tuple[Part, NDArray[np.int64]] | None]]:
        """Parts and the hashes of their keys, in the order of the names; None for what cannot be used."""
        yield from zip(names, read_ahead(self._hashes_of, names), strict=True)

    def _hashes_of(self, name: str) -> tuple[Part, NDArray[np.int64]] | None:
        opened = self.open(name)
        return (opened[0], hashes_of(opened[1].column(self._kind.key))) if opened else None

    def _unchanged(self, part: Part) -> bytes:
        data = self._files.read(self._path(part.name))
        if data is None:
            raise FileNotFoundError("no such file")
        found = hashlib.sha256(data).hexdigest()
        if found != part.sha256:
            raise ValueError(f"sha256 {part.sha256[:12]}... in the manifest, {found[:12]}... in the file")
        self._hashed.add(part.name)
        return data

    def _damaged(self, name: str, why: str, *, is_sealed: bool) -> DataError:
        manifest = f" and {self._files.path(self._folder.removesuffix('parts'))}manifest.json" if is_sealed else ""
        # Rows that are cut into other parts are other content, and all stages below would run again.
        same = " with the same pools.*.batch_rows" if is_sealed else ""
        return DataError(
            f"{self._files.path(self._path(name))}: missing or damaged ({why}). Bring back a copy of this file, or "
            f"delete it{manifest} and run the same command again{same}: only its rows are made anew."
        )

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}"


def read_ahead(read: Callable[[str], Found], names: Iterable[str]) -> Iterator[Found]:
    """What ``read`` says of each name, in their order; ``READERS`` of them are under way or waiting to be taken."""
    coming = iter(names)
    with ThreadPoolExecutor(READERS) as pool:
        begun = deque(pool.submit(read, name) for name in islice(coming, READERS))
        while begun:
            yield begun.popleft().result()
            begun.extend(pool.submit(read, name) for name in islice(coming, 1))


def _name(keys: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()[:24] + ".parquet"


def _encode(rows: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def _read(file: IO[bytes], columns: list[str]) -> pa.Table:
    rows = pq.read_table(file, columns=columns, page_checksum_verification=True)
    if rows.column_names != columns:
        raise ValueError(f"columns {rows.column_names} found, {columns} wanted")
    return rows


def _describe(name: str, data: bytes, rows: pa.Table) -> Part:
    rejects = rows.num_rows - rows.column(REJECT).null_count
    return Part(name, hashlib.sha256(data).hexdigest(), len(data), rows.num_rows - rejects, rejects)


def hashes_of(keys: pa.ChunkedArray) -> NDArray[np.int64]:
    """Of each key, the same all over this process."""
    return np.fromiter(map(hash, keys.to_pylist()), np.int64, len(keys))


def all_differ(hashes: Iterable[NDArray[np.int64]]) -> bool:
    """Whether certainly no key stands twice; 8 bytes a key, where :func:`first_times` needs some 200 to be exact."""
    together = np.concatenate([np.empty(0, np.int64), *hashes])
    together.sort()
    return bool((together[1:] != together[:-1]).all())


def first_times(keys: Iterable[str], taken: set[str]) -> list[bool]:
    """Which keys are not among ``taken``, nor earlier among themselves; adds them."""
    return [not (key in taken or taken.add(key)) for key in keys]  # type: ignore[func-returns-value]
