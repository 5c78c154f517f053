"""Where tables live: versions, parts, manifests.

    <root>/<table>/<fingerprint>/parts/<name>.parquet   immutable; rows and rejects together
                                 files/...              whatever else a stage leaves (weights, a dataset)
                                 lease-000001.json      who is writing
                                 manifest.json          written last: what the version consists of

A part is named by the hash of its sorted keys and created by one complete write, which the first of several writers
wins. A killed stage leaves parts and no manifest; the identical command removes what is damaged, reads the parts' key
columns and does the rest. Of two parts with the same key the first by name wins; the manifest lists no key twice.
Readers open only what it lists, and hold it against its sha256.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vapray.errors import DataError
from vapray.files import FileStore
from vapray.lease import Lease
from vapray.manifest import Manifest, Part, fingerprint
from vapray.parts import PartFolder, all_differ, first_times, hashes_of, read_ahead
from vapray.tables import REJECT, TABLES, Table

__all__ = ["Manifest", "Part", "Store", "Version", "fingerprint"]


class Version:
    """One version of one table: a folder that fills up and is then sealed by a manifest."""

    def __init__(self, files: FileStore, table: str, fingerprint: str) -> None:
        self.files, self.table, self.fingerprint = files, table, fingerprint
        self.folder = f"{table}/{fingerprint}"
        self._sealed: Manifest | None = None
        self._is_source = False

    @property
    def uri(self) -> str:
        """Where it lies, with its protocol unless that is a local path."""
        path = self.files.path(self.folder)
        return path if self.files.is_local else self.files.filesystem.unstrip_protocol(path)

    @cached_property
    def kind(self) -> Table:
        """Its columns."""
        return TABLES[self.table]

    @cached_property
    def _parts(self) -> PartFolder:
        return PartFolder(self.files, f"{self.folder}/parts", self.kind)

    @cached_property
    def _listed(self) -> dict[str, Part]:
        return {part.name: part for part in self.sealed().parts}

    def manifest(self) -> Manifest | None:
        """The manifest, or None while the version is unfinished.

        Raises:
            DataError: it is damaged.
        """
        if self._sealed is None:
            data = self.files.read(self._manifest_name)
            if data is not None:
                self._sealed = Manifest.from_json(data, self.files.path(self._manifest_name))
        return self._sealed

    def sealed(self) -> Manifest:
        """The manifest of a finished version.

        Raises:
            DataError: the version is not finished.
        """
        manifest = self.manifest()
        if manifest is None:
            raise DataError(f"{self.uri}: not finished. Run the stage that writes {self.table} first.")
        return manifest

    def lease(self) -> Lease:
        """The right to write it."""
        return Lease(self.files, self.folder)

    def write_part(self, rows: pa.Table) -> Part:
        """Commit rows and rejects as one immutable part named by the hash of its sorted keys.

        Returns:
            What stands there afterwards: of several writers of the same keys the first wins.
        """
        return self._parts.create(rows)

    def part_names(self) -> list[str]:
        """Sealed: what the manifest lists; otherwise what has been committed so far."""
        return list(self._listed) if self.manifest() else self._parts.names()

    def read_part(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """One part, rejects included.

        Whether the version is finished is asked at the first part only: what a stage works from is sealed before, or,
        as a plan, never.

        Raises:
            DataError: the part is missing or damaged.
        """
        if not self._is_source:
            self._is_source = True
            self.manifest()
        return self._parts.read(name, columns, self._listed.get(name) if self._sealed else None)

    def read(self, columns: Sequence[str] | None = None, *, rejects: bool = False) -> pa.Table:
        """All rows, sorted by key, duplicates and (unless asked for) rejects left out."""
        schema = pa.schema([self.kind.schema.field(name) for name in self._with_key(columns)])
        whole = pa.concat_tables([schema.empty_table(), *self.read_parts(columns, rejects=rejects)])
        whole = whole.sort_by(self.kind.key)
        return whole.select(list(columns)) if columns else whole

    def read_parts(self, columns: Sequence[str] | None = None, *, rejects: bool = False) -> Iterator[pa.Table]:
        """The same rows part by part, with the key and ``reject`` behind the columns: for what is large."""
        taken: set[str] | None = None if self._lists_each_key_once() else set()
        for part in self._each_part(self._with_key(columns)):
            if taken is not None:
                part = part.filter(pa.array(first_times(part.column(self.kind.key).to_pylist(), taken), pa.bool_()))
            yield part if rejects else part.filter(pc.is_null(part.column(REJECT)))

    def keys(self) -> set[str]:
        """Keys of everything committed, rows and rejects; reads only the key column."""
        return {key for part in self._each_part([self.kind.key]) for key in part.column(0).to_pylist()}

    def mend(self, say: Callable[[str], None]) -> None:
        """Remove what cannot be used of an unfinished version, so that its rows are asked for again.

        For the holder of the lease, before it looks at what is committed. Reads every part once, as :meth:`seal` does.
        """
        if self.table in TABLES and self.manifest() is None:
            self._parts.mend(say)

    def seal(
        self,
        *,
        stage: str,
        sections: dict[str, Any],
        inputs: dict[str, str],
        seconds: float,
        versions: dict[str, str],
        notes: dict[str, Any],
    ) -> Manifest:
        """Write the manifest over all committed parts; the version is finished.

        ``notes["rows"]`` is the count of a stage that writes no parts.

        Returns:
            What stands there afterwards: of two runs that seal, the first wins.

        Raises:
            DataError: a part was damaged since it was written.
        """
        parts = tuple(self._parts.settle()) if self.table in TABLES else ()
        manifest = Manifest(
            stage,
            self.fingerprint,
            sections,
            inputs,
            parts,
            sum(part.rows for part in parts) if parts else int(notes.get("rows", 0)),
            sum(part.rejects for part in parts),
            seconds,
            time.time(),
            versions,
            notes,
        )
        self.files.create(self._manifest_name, manifest.to_json())
        return self.sealed()

    def _lists_each_key_once(self) -> bool:
        """A manifest does; without one, two writers may have committed a row each."""
        return self.manifest() is not None or all_differ(
            hashes_of(part.column(0)) for part in self._each_part([self.kind.key])
        )

    def _with_key(self, columns: Sequence[str] | None) -> list[str]:
        return [*dict.fromkeys([*(columns or self.kind.schema.names), self.kind.key, REJECT])]

    def _each_part(self, columns: list[str]) -> Iterator[pa.Table]:
        """Of pictures and arrays one at a time, for they are large; else some ahead."""
        listed = self._listed if self.manifest() else {}
        large = any(pa.types.is_binary(self.kind.schema.field(name).type) for name in columns)
        each = map if large else read_ahead
        yield from each(lambda name: self._parts.read(name, columns, listed.get(name)), listed or self._parts.names())

    @property
    def _manifest_name(self) -> str:
        return f"{self.folder}/manifest.json"


class Store:
    """All tables of a run.

    Args:
        root: local path or URI.
    """

    def __init__(self, root: str) -> None:
        self.files = FileStore(root)

    def version(self, table: str, fingerprint: str) -> Version:
        """The version of a table with this fingerprint, finished or not."""
        return Version(self.files, table, fingerprint)

    def finished(self, table: str) -> list[Version]:
        """Finished versions of a table, newest first; one whose manifest is damaged is as good as gone."""
        versions = []
        for name in self.files.names(table):
            version = self.version(table, name)
            with contextlib.suppress(DataError):
                if version.manifest():
                    versions.append(version)
        return sorted(versions, key=lambda version: version.sealed().finished, reverse=True)

    def holding(self, table: str, content_hash: str | None) -> Version | None:
        """The finished version of a table that has this content."""
        return next(
            (version for version in self.finished(table) if version.sealed().content_hash == content_hash), None
        )

    def newest(self, table: str) -> Manifest | None:
        """The manifest that was finished last, whatever its fingerprint."""
        return next((version.sealed() for version in self.finished(table)), None)
