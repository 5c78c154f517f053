"""Where tables live: versions, parts, manifests.

    <root>/<table>/<fingerprint>/parts/<name>.parquet   immutable; rows and rejects together
                                 files/...              whatever else a stage leaves (weights, a dataset)
                                 lease-000001.json      who is writing
                                 manifest.json          written last: what the version consists of

A part is named by the hash of its sorted keys and committed by one complete write. A killed stage leaves parts and
no manifest; the identical command reads the parts' key columns and does the rest. Readers open only what a manifest
lists. Of two parts with the same key the first by name wins.
"""

import hashlib
import io
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vapray.errors import DataError
from vapray.files import FileStore
from vapray.lease import Lease
from vapray.tables import REJECT, TABLES, Table

__all__ = ["Manifest", "Part", "Store", "Version", "fingerprint"]


def fingerprint(stage: str, schema: int, sections: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """Twelve hex digits that name everything which decides a stage's result.

    Args:
        stage: its name.
        schema: version of what it writes.
        sections: the config values it reads, as JSON values.
        inputs: content hash of every table it reads.
    """
    card = {"stage": stage, "schema": schema, "sections": sections, "inputs": inputs}
    return hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Part:
    """One committed file of a version."""

    name: str
    sha256: str
    bytes: int
    rows: int
    rejects: int


@dataclass(frozen=True)
class Manifest:
    """What a finished version consists of, and what it came from."""

    stage: str
    fingerprint: str
    sections: dict[str, Any]
    inputs: dict[str, str]
    parts: tuple[Part, ...]
    rows: int
    rejects: int
    seconds: float
    finished: float
    versions: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def content_hash(self) -> str:
        """Changes when a byte of the content does; what stages below put in their fingerprint.

        The content is the parts, and the files whose digest a stage leaves in ``notes["sha256"]``.
        """
        card = [self.fingerprint, [(part.name, part.sha256) for part in self.parts], self.notes.get("sha256")]
        return hashlib.sha256(json.dumps(card).encode()).hexdigest()[:16]

    def to_json(self) -> bytes:
        """The manifest file."""
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes, where: str) -> Self:
        """Read a manifest file.

        Raises:
            DataError: it is not one.
        """
        try:
            card = json.loads(data)
            return cls(**{**card, "parts": tuple(Part(**part) for part in card["parts"])})
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"{where}: damaged manifest ({error}). Delete this file: the stage rewrites it from its parts."
            ) from None


class Version:
    """One version of one table: a folder that fills up and is then sealed by a manifest."""

    def __init__(self, files: FileStore, table: str, fingerprint: str) -> None:
        self.files, self.table, self.fingerprint = files, table, fingerprint
        self.folder = f"{table}/{fingerprint}"

    @property
    def uri(self) -> str:
        """Where it lies."""
        return self.files.path(self.folder)

    @property
    def storage_path(self) -> str:
        """The same with its protocol, for libraries that open paths on their own."""
        return self.uri if self.files.is_local else self.files.filesystem.unstrip_protocol(self.uri)

    @cached_property
    def kind(self) -> Table:
        """Its columns."""
        return TABLES[self.table]

    def manifest(self) -> Manifest | None:
        """The manifest, or None while the version is unfinished."""
        name = f"{self.folder}/manifest.json"
        data = self.files.read(name)
        return Manifest.from_json(data, self.files.path(name)) if data else None

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
        """Commit rows and rejects as one immutable part named by the hash of its sorted keys."""
        keys = sorted(rows.column(self.kind.key).to_pylist())
        name = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:24] + ".parquet"
        buffer = io.BytesIO()
        pq.write_table(rows.cast(self.kind.schema), buffer, compression="zstd")
        self.files.write(f"{self.folder}/parts/{name}", buffer.getvalue())
        return _part(name, buffer.getvalue(), rows)

    def part_names(self) -> list[str]:
        """Sealed: what the manifest lists; otherwise what has been committed so far."""
        manifest = self.manifest()
        if manifest:
            return [part.name for part in manifest.parts]
        return [name for name in self.files.names(f"{self.folder}/parts") if name.endswith(".parquet")]

    def read_part(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """One part, rejects included.

        Raises:
            DataError: the part is missing or damaged.
        """
        path = f"{self.folder}/parts/{name}"
        try:
            with self.files.filesystem.open(self.files.path(path), "rb") as file:
                return pq.read_table(file, columns=list(columns) if columns else None)
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(
                f"{self.files.path(path)}: missing or damaged ({str(error).splitlines()[0]}). "
                f"Delete the folder {self.uri} and run the stage that writes {self.table} again."
            ) from None

    def read(self, columns: Sequence[str] | None = None, *, rejects: bool = False) -> pa.Table:
        """All rows, sorted by key, duplicates and (unless asked for) rejects left out."""
        wanted = [*dict.fromkeys([*(columns or self.kind.schema.names), self.kind.key, REJECT])]
        tables = [self.read_part(name, wanted) for name in self.part_names()]
        schema = pa.schema([self.kind.schema.field(name) for name in wanted])
        whole = pa.concat_tables([schema.empty_table(), *tables])
        whole = whole.take(_first_of_each(whole.column(self.kind.key)))
        if not rejects:
            whole = whole.filter(pc.is_null(whole.column(REJECT)))
        whole = whole.sort_by(self.kind.key)
        return whole.select(list(columns)) if columns else whole

    def keys(self) -> set[str]:
        """Keys of everything committed, rows and rejects; reads only the key column."""
        parts = (self.read_part(name, [self.kind.key]) for name in self.part_names())
        return {key for part in parts for key in part.column(0).to_pylist()}

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
        """
        parts = tuple(self._committed_parts())
        known = self.read([REJECT], rejects=True).column(REJECT) if parts else pa.nulls(0)
        rejects = len(known) - known.null_count
        rows = known.null_count if parts else int(notes.get("rows", 0))
        manifest = Manifest(
            stage,
            self.fingerprint,
            sections,
            inputs,
            parts,
            rows,
            rejects,
            seconds,
            time.time(),
            versions,
            notes,
        )
        self.files.write(f"{self.folder}/manifest.json", manifest.to_json())
        return manifest

    def _committed_parts(self) -> Iterable[Part]:
        for name in self.part_names():
            data = self.files.read(f"{self.folder}/parts/{name}") or b""
            yield _part(name, data, pq.read_table(io.BytesIO(data), columns=[REJECT]))


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

    def newest(self, table: str) -> Manifest | None:
        """The manifest that was finished last, whatever its fingerprint."""
        versions = (self.version(table, name) for name in self.files.names(table))
        manifests = [manifest for version in versions if (manifest := version.manifest())]
        return max(manifests, key=lambda manifest: manifest.finished, default=None)


def _part(name: str, data: bytes, rows: pa.Table) -> Part:
    rejects = rows.num_rows - rows.column(REJECT).null_count
    return Part(name, hashlib.sha256(data).hexdigest(), len(data), rows.num_rows - rejects, rejects)


def _first_of_each(keys: pa.ChunkedArray) -> pa.Array:
    table = pa.table({"key": keys, "row": pa.array(range(len(keys)), pa.int64())})
    return table.group_by("key").aggregate([("row", "min")]).column("row_min").combine_chunks()
