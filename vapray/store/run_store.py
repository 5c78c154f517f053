"""All tables of a run, and their versions."""

import contextlib
from collections.abc import Iterator

from vapray.errors import DataError
from vapray.store.files import FileStore
from vapray.store.manifest import Manifest
from vapray.store.tables import RENAMED_TABLES
from vapray.store.version import Version

__all__ = ["Store"]


class Store:
    """All tables of a run.

    Args:
        root: Run root, a local path or URI.
    """

    def __init__(self, root: str) -> None:
        self.files = FileStore(root)

    def version(self, table: str, fingerprint: str) -> Version:
        """Version of a table with this fingerprint, finished or not; one of 0.1.0 only if it is finished."""
        version, old = Version(self.files, table, fingerprint), RENAMED_TABLES.get(table)
        if old and not self.files.names(version.folder) and self.files.read(f"{old}/{fingerprint}/manifest.json"):
            return Version(self.files, table, fingerprint, old)
        return version

    def finished(self, table: str) -> list[Version]:
        """Finished versions of a table, newest first; skips those with a damaged manifest."""
        versions = []
        for version in self.versions(table):
            with contextlib.suppress(DataError):
                if version.manifest():
                    versions.append(version)
        return sorted(versions, key=lambda version: version.require_manifest().finished, reverse=True)

    def versions(self, table: str) -> Iterator[Version]:
        """Versions of a table, finished or not; those of 0.1.0 are in a folder with the table's old name."""
        for folder in filter(None, (table, RENAMED_TABLES.get(table))):
            for name in self.files.names(folder):
                yield Version(self.files, table, name, folder)

    def find_by_content(self, table: str, content_hash: str | None) -> Version | None:
        """Finished version of a table with this content hash, or None."""
        return next(
            (version for version in self.finished(table) if version.require_manifest().content_hash == content_hash),
            None,
        )

    def latest(self, table: str) -> Manifest | None:
        """Manifest of the last finished version of a table, with any fingerprint, or None."""
        return next((version.require_manifest() for version in self.finished(table)), None)
