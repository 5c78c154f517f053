"""Parts of a version: immutable Parquet files, each named by the hash of its sorted keys.

A part is created by one atomic write; the first of several writers wins. :meth:`PartFolder.open` verifies an unsealed
part by its page checksums, its columns and its name, the hash of its keys. A sealed part is also verified against the
sha256 in the manifest. The metadata of a part has its span, see :mod:`vapray.store.receipts`.
"""

import hashlib
import io
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import IO, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vapray.errors import DataError
from vapray.store.files import FileStore
from vapray.store.manifest import Part
from vapray.store.parquet import NOTE, read_note, read_table
from vapray.store.part_list import is_part_name
from vapray.store.receipts import Receipt, Span
from vapray.store.tables import ADDED_COLUMNS, REJECT, RENAMED_COLUMNS, TableSpec

__all__ = ["PartFolder", "all_unique", "first_occurrences", "key_hashes", "read_ahead"]

Found = TypeVar("Found")

HASHED_WHOLE_BYTES = 32 * 2**20
"""A sealed part up to this size is hashed (at most 0.1 s) when a process first opens it. A larger one is hashed only
when all its columns are read: reading some columns would otherwise cost the complete file, and pages have checksums."""

READERS = 8
"""Number of parts read concurrently; reads from an object store are mostly waiting."""
MANY = 200
"""Number of parts above which their check is logged, because it takes a while."""

# Errors of pyarrow for damaged Parquet: OSError for a page checksum, any of these for a footer.
_DAMAGE = (OSError, pa.ArrowException, ValueError)


class PartFolder:
    """Folder of the parts of one version.

    Args:
        files: Store that holds the run.
        folder: Folder of the parts, relative to the store root.
        kind: Columns of the table.
    """

    def __init__(self, files: FileStore, folder: str, kind: TableSpec) -> None:
        self._files, self._folder, self._kind = files, folder, kind
        self._hashed: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_hashed": set()}  # every process verifies parts itself

    def names(self) -> list[str]:
        """Names of all committed parts, sorted."""
        return sorted(name for name, _ in self.entries())

    def entries(self) -> Iterator[tuple[str, int]]:
        """Names of all committed parts, in any order, and sizes in bytes."""
        return ((name, size) for name, size in self._files.entries(self._folder) if is_part_name(name))

    def create(self, rows: pa.Table, span: Span | None = None) -> Part:
        """Commit rows; return the stored part, which may be another writer's part with the same keys."""
        rows = rows.cast(self._kind.schema)
        name = _name(rows.column(self._kind.key).to_pylist())
        data = _encode(rows, span)
        if not self._files.create_exclusive(self._path(name), data):
            if standing := self.open(name):
                return standing[0].part
            self._files.write(self._path(name), data)
        return _describe(name, data, rows)

    def open(self, name: str) -> tuple[Receipt, pa.Table] | None:
        """Read a complete part and verify it; None if it is missing or damaged."""
        data = self._files.read(self._path(name))
        if data is None:
            return None
        try:
            rows = self._columns(io.BytesIO(data), self._kind.schema.names)
            whole = rows.schema.equals(self._kind.schema) and _name(rows.column(self._kind.key).to_pylist()) == name
            note = read_note(io.BytesIO(data))
            span = Span.from_text(note) if note else None
        except (*_DAMAGE, TypeError):
            return None
        return (Receipt(_describe(name, data, rows), span), rows) if whole else None

    def read(self, name: str, columns: Sequence[str] | None, listed: Part | None) -> pa.Table:
        """Read columns of a part, all by default.

        Args:
            name: File name of the part.
            columns: Names of the columns; None for all.
            listed: Entry of the part in the manifest, if the version is sealed.

        Raises:
            DataError: the part is missing or damaged.
        """
        wanted = [*dict.fromkeys(columns or self._kind.schema.names)]
        added = ADDED_COLUMNS.get(self._kind.name, ())
        try:
            if listed and name not in self._hashed and (columns is None or listed.bytes <= HASHED_WHOLE_BYTES):
                return self._columns(io.BytesIO(self._unchanged(listed)), wanted, added)
            with self._files.open(self._path(name)) as file:
                return self._columns(file, wanted, added)
        except _DAMAGE as error:
            raise self._damaged(name, str(error).splitlines()[0], is_sealed=listed is not None) from None

    def remove_temporary(self) -> None:
        """Remove temporary files of killed writers."""
        self._files.remove_temporary(self._folder)

    def adopt(self, names: Sequence[str], log: Callable[[str], None] | None) -> Iterator[Receipt]:
        """Open parts that have no receipt.

        Args:
            names: Names of the parts.
            log: Logs that there are many, and removed parts; None: a damaged part is an error.

        Raises:
            DataError: a part was damaged since it was written.
        """
        if log and len(names) > MANY:
            log(f"{self._files.path(self._folder)}: checking {len(names):,} parts of an earlier run")
        for name, receipt in zip(names, read_ahead(self._receipt, names), strict=True):
            if receipt:
                yield receipt
            elif log:
                log(f"{self._files.path(self._path(name))}: removed a damaged part; its rows are recreated")
                self._files.remove(self._path(name))
            else:
                raise self._damaged(name, "its checksums differ", is_sealed=False)

    def deduplicate(self, names: Sequence[str]) -> dict[str, Part | None]:
        """Find parts with duplicate keys, of which the row of the first part by name is kept.

        Returns:
            For such a part, the part with the keys that no earlier one has; None if there are none.

        Raises:
            DataError: a part was damaged since it was written.
        """
        if all_unique(key_hashes(rows.column(0)) for rows in read_ahead(self._keys, names)):
            return {}
        taken: set[str] = set()
        changed: dict[str, Part | None] = {}
        for name in names:
            rows = self.read(name, None, None)
            fresh = first_occurrences(rows.column(self._kind.key).to_pylist(), taken)
            if not all(fresh):
                changed[name] = self.create(rows.filter(pa.array(fresh))) if any(fresh) else None
        return changed

    def _receipt(self, name: str) -> Receipt | None:
        opened = self.open(name)
        return opened[0] if opened else None

    def _keys(self, name: str) -> pa.Table:
        return self.read(name, [self._kind.key], None)

    def _columns(self, file: IO[bytes], names: list[str], added: Collection[str] = ()) -> pa.Table:
        return read_table(file, names, RENAMED_COLUMNS.get(self._kind.name), added)

    def _unchanged(self, part: Part) -> bytes:
        data = self._files.read(self._path(part.name))
        if data is None:
            raise FileNotFoundError("no such file")
        found = hashlib.sha256(data).hexdigest()
        if found != part.sha256:
            raise ValueError(f"sha256 is {part.sha256[:12]}... in the manifest, {found[:12]}... in the file")
        self._hashed.add(part.name)
        return data

    def _damaged(self, name: str, why: str, *, is_sealed: bool) -> DataError:
        manifest = f" and {self._files.path(self._folder.removesuffix('parts'))}manifest.json" if is_sealed else ""
        # Rows split into other parts change the content hash, and all later stages would run again.
        same = " with the same pools.*.batch_rows" if is_sealed else ""
        return DataError(
            f"{self._files.path(self._path(name))}: missing or damaged ({why}). Fix: restore a copy of this file, or "
            f"delete it{manifest} and run the same command again{same}; only its rows are recreated."
        )

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}"


def read_ahead(read: Callable[[str], Found], names: Iterable[str]) -> Iterator[Found]:
    """Map ``read`` over names in threads, in order; at most ``READERS`` results are pending or not yet consumed."""
    coming = iter(names)
    with ThreadPoolExecutor(READERS) as pool:
        begun = deque(pool.submit(read, name) for name in islice(coming, READERS))
        while begun:
            yield begun.popleft().result()
            begun.extend(pool.submit(read, name) for name in islice(coming, 1))


def _name(keys: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()[:24] + ".parquet"


def _encode(rows: pa.Table, span: Span | None) -> bytes:
    buffer = io.BytesIO()
    if span:
        rows = rows.replace_schema_metadata({NOTE: span.to_text()})
    pq.write_table(rows, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def _describe(name: str, data: bytes, rows: pa.Table) -> Part:
    rejects = rows.num_rows - rows.column(REJECT).null_count
    return Part(name, hashlib.sha256(data).hexdigest(), len(data), rows.num_rows - rejects, rejects)


def key_hashes(keys: pa.ChunkedArray) -> NDArray[np.int64]:
    """Hash each key, int64 [N]; the hashes are consistent within this process only."""
    return np.fromiter(map(hash, keys.to_pylist()), np.int64, len(keys))


def all_unique(hashes: Iterable[NDArray[np.int64]]) -> bool:
    """Check that no hash, and so no key, repeats; 8 bytes per key, the exact :func:`first_occurrences` takes 200."""
    together = np.concatenate([np.empty(0, np.int64), *hashes])
    together.sort()
    return bool((together[1:] != together[:-1]).all())


def first_occurrences(keys: Iterable[str], taken: set[str]) -> list[bool]:
    """Mark the first occurrence of each key that is not in ``taken``, and add the keys to it."""
    return [not (key in taken or taken.add(key)) for key in keys]  # type: ignore[func-returns-value]
