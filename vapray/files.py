"""Whole files on any fsspec filesystem: complete or absent, never half.

A local write goes to a temporary neighbour, is synced, and is renamed; an object store's PUT is already of this
kind. :func:`FileStore.create` succeeds for exactly one of several writers.
"""

import contextlib
import errno
import os
import uuid
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from vapray.errors import ConfigError, DataError

__all__ = ["FileStore"]


class FileStore:
    """A folder of whole files behind a path or URI.

    Args:
        root: local path or any URI that fsspec knows, such as ``s3://bucket/run``.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        try:
            self.filesystem, self._base = fsspec.core.url_to_fs(root)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"{root}: {error}. For s3:// install vapray[s3]; a path needs no protocol.") from None
        self.is_local = isinstance(self.filesystem, LocalFileSystem)
        files = [path for path in (Path(self._base), *Path(self._base).parents) if self.is_local and path.is_file()]
        if files:
            raise ConfigError(f"{root}: {files[0]} is a file, wanted a folder. Choose another run.root.")

    def path(self, name: str) -> str:
        """The filesystem's own path of a file."""
        return f"{self._base.rstrip('/')}/{name.lstrip('/')}" if name else self._base

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file; whatever stood there is replaced in one step.

        Raises:
            DataError: with the path and the bytes needed, when the store cannot take them.
        """
        try:
            self._replace(self.path(name), data) if self.is_local else self.filesystem.pipe_file(self.path(name), data)
        except OSError as error:
            raise _write_error(self.path(name), len(data), error) from error

    def create(self, name: str, data: bytes) -> bool:
        """Write a file only if none stands there; True for the one writer that did."""
        path = self.path(name)
        if not self.is_local:
            try:
                self.filesystem.pipe_file(path, data, mode="create")
            except FileExistsError:
                return False
            return True
        temporary = _temporary(path)
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            _write_synced(temporary, data)
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            raise _write_error(path, len(data), error) from error
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        return True

    def read(self, name: str) -> bytes | None:
        """A whole file, or None where there is none."""
        try:
            return bytes(self.filesystem.cat_file(self.path(name)))
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        """Names of the files directly in a folder, sorted; temporary ones left out."""
        try:
            found = self.filesystem.ls(self.path(folder), detail=False, refresh=True)
        except FileNotFoundError:
            return []
        names = (str(path).rstrip("/").rsplit("/", 1)[-1] for path in found)
        return sorted(name for name in names if not name.startswith("."))

    def remove(self, name: str) -> None:
        """Remove a file or a folder with all it holds; nothing there is fine."""
        with contextlib.suppress(FileNotFoundError):
            self.filesystem.rm(self.path(name), recursive=True)

    def _replace(self, path: str, data: bytes) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(path)
        try:
            _write_synced(temporary, data)
            os.replace(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


def _temporary(path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.{uuid.uuid4().hex}")


def _write_synced(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _write_error(path: str, size: int, error: OSError) -> DataError:
    reason = "no space left" if error.errno == errno.ENOSPC else (error.strerror or str(error))
    return DataError(
        f"{path}: {size:,} bytes could not be written ({reason}). What was committed before stays valid: "
        "make room or choose another run.root, then run the same command again."
    )
