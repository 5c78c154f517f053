"""Versions of tables: parts, receipts, manifests.

    <root>/<table>/<fingerprint>/parts/<name>.parquet   immutable; rows and rejects together
                                 receipts/<n>.parquet   what is known of the parts, while the stage runs
                                 manifest/<hash>.parquet  lists of parts, if they are many
                                 files/...              other files of a stage (weights, a dataset)
                                 lease-000001.json      the current writer
                                 manifest.json          written last: the contents of the version

A part is named by the hash of its sorted keys and created by one atomic write; the first of several writers wins. A
killed stage leaves parts, their receipts, and no manifest; the same command opens the parts that have no receipt,
removes those that are damaged, and computes the remaining rows. Of two parts with the same key the first by name wins;
the manifest lists no key twice. Readers open only the parts that it lists, and verify their sha256.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vapray.errors import DataError
from vapray.store.files import FileStore
from vapray.store.lease import Lease
from vapray.store.manifest import Manifest, Part, fingerprint
from vapray.store.part_list import PartList, part_name
from vapray.store.parts import PartFolder, all_unique, first_occurrences, key_hashes, read_ahead
from vapray.store.receipts import ReceiptLog, Span, overlapping
from vapray.store.tables import REJECT, TABLES, TableSpec

__all__ = ["Manifest", "Part", "Version", "fingerprint"]


class Version:
    """One version of one table: parts sealed by a manifest; ``table_folder`` is below the root, by default its name."""

    def __init__(self, files: FileStore, table: str, fingerprint: str, table_folder: str = "") -> None:
        self.files, self.table, self.fingerprint = files, table, fingerprint
        self.folder = f"{table_folder or table}/{fingerprint}"
        self._sealed: Manifest | None = None

    @property
    def uri(self) -> str:
        """Location of the version: a URI with its protocol, or a local path."""
        path = self.files.path(self.folder)
        return path if self.files.is_local else self.files.filesystem.unstrip_protocol(path)

    @cached_property
    def table_spec(self) -> TableSpec:
        """Columns of the table."""
        return TABLES[self.table]

    @cached_property
    def receipts(self) -> ReceiptLog:
        """Receipts of the parts of an unfinished version; read by :meth:`adopt_parts`."""
        return ReceiptLog(self.files, self.folder)

    @cached_property
    def _parts(self) -> PartFolder:
        return PartFolder(self.files, f"{self.folder}/parts", self.table_spec)

    @cached_property
    def _listed(self) -> dict[str, Part]:
        return {part.name: part for part in self.require_manifest().parts}

    @cached_property
    def _source_parts(self) -> dict[str, Part]:
        """Parts in the manifest, read once: a source is sealed before its readers start, or, as a work list, never."""
        return self._listed if self.manifest() else {}

    def manifest(self) -> Manifest | None:
        """Read the manifest; None while the version is unfinished.

        Raises:
            DataError: the manifest is damaged.
        """
        if self._sealed is None:
            data = self.files.read(self._manifest_name)
            if data is not None:
                path = self.files.path(self._manifest_name)
                self._sealed = Manifest.from_json(data, path, lambda name: self.files.read(self._piece_name(name)))
        return self._sealed

    def require_manifest(self) -> Manifest:
        """The manifest of a finished version.

        Raises:
            DataError: the version is not finished.
        """
        manifest = self.manifest()
        if manifest is None:
            raise DataError(f"{self.uri}: not finished. Fix: first run the stage that writes {self.table}.")
        return manifest

    def lease(self, on_wait: Callable[[str], None] | None = None) -> Lease:
        """Create the lease for writing this version; entering it acquires it.

        Args:
            on_wait: Logs once that another run holds the lease, and then waits for it; None raises LeaseHeldError.
        """
        return Lease(self.files, self.folder, on_wait=on_wait)

    def write_part(self, rows: pa.Table, span: Span | None = None) -> Part:
        """Commit rows and rejects as one immutable part named by the hash of its sorted keys.

        Args:
            rows: All columns of the table.
            span: Rows of the source that these are the result of. If a part has none, sealing reads the keys of all.

        Returns:
            The stored part: of several writers of the same keys the first wins.
        """
        return self._parts.create(rows, span)

    def unread(self) -> "Version":
        """The same version without what was read of it, to be sent to other processes."""
        return Version(self.files, self.table, self.fingerprint, self.folder.removesuffix(f"/{self.fingerprint}"))

    def part_names(self) -> list[str]:
        """Names of the parts: those in the manifest if sealed, otherwise those committed so far."""
        return list(self._listed) if self.manifest() else self._parts.names()

    def read_part(self, name: str, columns: Sequence[str] | None = None, listed: Part | None = None) -> pa.Table:
        """Read one part, including rejects.

        Args:
            name: Name of the part.
            columns: Names of the columns; None for all.
            listed: Entry of the part in the manifest; None looks it up.

        Raises:
            DataError: the part is missing or damaged.
        """
        return self._parts.read(name, columns, listed or self._source_parts.get(name))

    def read(self, columns: Sequence[str] | None = None, *, rejects: bool = False) -> pa.Table:
        """Read all rows, sorted by key, without duplicates and (unless requested) without rejects."""
        schema = pa.schema([self.table_spec.schema.field(name) for name in self._with_key(columns)])
        whole = pa.concat_tables([schema.empty_table(), *self.read_parts(columns, rejects=rejects)])
        whole = whole.sort_by(self.table_spec.key)
        return whole.select(list(columns)) if columns else whole

    def read_parts(self, columns: Sequence[str] | None = None, *, rejects: bool = False) -> Iterator[pa.Table]:
        """Read the same rows part by part, for large tables; the key and ``reject`` are appended to the columns."""
        taken: set[str] | None = None if self._lists_each_key_once() else set()
        for part in self._each_part(self._with_key(columns)):
            if taken is not None:
                part = part.filter(
                    pa.array(first_occurrences(part.column(self.table_spec.key).to_pylist(), taken), pa.bool_())
                )
            yield part if rejects else part.filter(pc.is_null(part.column(REJECT)))

    def committed_keys(self) -> set[str]:
        """Keys of all committed rows and rejects; reads only the key column."""
        return {key for part in self._each_part([self.table_spec.key]) for key in part.column(0).to_pylist()}

    def adopt_parts(self, log: Callable[[str], None]) -> None:
        """Read the receipts of an unfinished version, and open the parts that have none.

        The holder of the lease calls it before it commits parts. Damaged parts are removed, so that their rows are
        computed again.
        """
        if self.table in TABLES and self.manifest() is None:
            self._parts.remove_temporary()
            self._adopt(log)
            self.receipts.compact()

    def _adopt(self, log: Callable[[str], None] | None) -> None:
        while unknown := self.receipts.read(self._parts.entries()):
            self.receipts.add(self._parts.adopt(unknown, log))
            self.receipts.flush()

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
        """Finish the version: write the manifest of all committed parts.

        ``notes["rows"]`` is the row count of a stage that writes no parts.

        Returns:
            The stored manifest: of two runs that seal, the first wins.

        Raises:
            DataError: a part was damaged since it was written.
        """
        parts = self._unique_parts() if self.table in TABLES else PartList.of([])
        manifest = Manifest(
            stage,
            self.fingerprint,
            sections,
            inputs,
            parts,
            parts.total("rows") if len(parts) else int(notes.get("rows", 0)),
            parts.total("rejects"),
            seconds,
            time.time(),
            versions,
            notes,
        )
        if self.files.create_exclusive(self._manifest_name, manifest.to_json(self._write_piece)):
            self._sealed = manifest
        return self.require_manifest()

    def _unique_parts(self) -> PartList:
        """Parts that hold every key once; keys are read only of parts whose spans overlap, or are not known."""
        self.receipts.flush()
        self._adopt(None)
        doubtful = np.sort(self.receipts.spans["name"][overlapping(self.receipts.spans)])
        parts = self.receipts.parts()
        changed = self._parts.deduplicate([part_name(key) for key in doubtful.tolist()]) if len(doubtful) else {}
        if not changed:
            return parts
        return PartList.of(kept for part in parts if (kept := changed.get(part.name, part)))

    def _write_piece(self, name: str, data: bytes) -> None:
        self.files.create_exclusive(self._piece_name(name), data)

    def _piece_name(self, name: str) -> str:
        return f"{self.folder}/manifest/{name}"

    def _lists_each_key_once(self) -> bool:
        """Check that no key repeats: true with a manifest; without one, two writers may have committed the same row."""
        return self.manifest() is not None or all_unique(
            key_hashes(part.column(0)) for part in self._each_part([self.table_spec.key])
        )

    def _with_key(self, columns: Sequence[str] | None) -> list[str]:
        return [*dict.fromkeys([*(columns or self.table_spec.schema.names), self.table_spec.key, REJECT])]

    def _each_part(self, columns: list[str]) -> Iterator[pa.Table]:
        """Read all parts: those with images or arrays one at a time, because they are large, others some ahead."""
        listed = self._listed if self.manifest() else {}
        large = any(pa.types.is_binary(self.table_spec.schema.field(name).type) for name in columns)
        each = map if large else read_ahead
        yield from each(lambda name: self._parts.read(name, columns, listed.get(name)), listed or self._parts.names())

    @property
    def _manifest_name(self) -> str:
        return f"{self.folder}/manifest.json"
