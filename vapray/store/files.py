"""Atomic files on any fsspec filesystem: a file is complete or absent.

A local write goes to a temporary file in the same folder, which is synced and renamed; then the folder is synced. An
object store's PUT is atomic already. :func:`FileStore.create_exclusive` succeeds for exactly one of several writers.
"""

import contextlib
import errno
import io
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from vapray.errors import ConfigError, DataError
from vapray.store.object_files import ObjectFiles, filesystem_options

__all__ = ["FileStore", "is_temporary"]


class FileStore:
    """Folder of atomic files at a path or URI.

    Args:
        root: Local path or any URI that fsspec knows, such as ``s3://bucket/run``.

    Raises:
        ConfigError: the URI is invalid or its filesystem is not installed, or a local root is a file.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        if "::" in root:  # fsspec reads a chain of filesystems, and takes the part before it for the folder
            raise ConfigError(f"{root}: a folder with :: in its name is not supported. Fix: choose another run.root.")
        try:
            self.filesystem, self._base = fsspec.core.url_to_fs(root, **filesystem_options(root))
        except (ImportError, ValueError) as error:
            raise ConfigError(f"{root}: {error}. Fix: install vapray[s3] for s3://.") from None
        self.is_local = isinstance(self.filesystem, LocalFileSystem)
        self._objects = ObjectFiles(self.filesystem)
        if root.startswith(("s3://", "s3a://")) and not self._base.split("/")[0]:
            raise ConfigError(f"{root}: no bucket. Fix: set run.root to s3://BUCKET/FOLDER.")
        files = [
            path for path in (Path(self._base), *Path(self._base).parents) if self.is_local and os.path.isfile(path)
        ]
        if files:
            raise ConfigError(f"{root}: {files[0]} is a file, not a folder. Fix: choose another run.root.")

    def __reduce__(self) -> tuple[type["FileStore"], tuple[str]]:
        """Pickle the root only: every process opens its own connections."""
        return FileStore, (self._base if self.is_local else self.root,)

    def path(self, name: str) -> str:
        """Path of a file on its filesystem."""
        return f"{self._base.rstrip('/')}/{name.lstrip('/')}" if name else self._base

    def write(self, name: str, data: bytes) -> None:
        """Write a complete file; replaces an existing one atomically.

        Raises:
            DataError: the store cannot take the file; names its path and size in bytes.
        """
        self.write_all({name: data})

    def write_all(self, files: Mapping[str, bytes]) -> None:
        """Write many files as :meth:`write` does; syncs their folders once, after the last file."""
        paths = {self.path(name): data for name, data in files.items()}
        if not self.is_local:
            for path, data in paths.items():
                self._objects.write(path, data)
            return
        try:
            for path, data in paths.items():
                _replace(path, io.BytesIO(data))
            for folder in {os.path.dirname(path): None for path in paths}:
                _sync_folder(folder)
        except OSError as error:
            raise _write_error(path, len(data), error) from error

    def upload(self, name: str, source: Path) -> None:
        """Write a complete file from a local one, in pieces; replaces an existing one atomically."""
        path = self.path(name)
        if not self.is_local:
            self._objects.upload(path, source)
            return
        try:
            with source.open("rb") as file:
                _replace(path, file)
            _sync_folder(os.path.dirname(path))
        except OSError as error:
            raise _write_error(path, source.stat().st_size, error) from error

    def create_exclusive(self, name: str, data: bytes) -> bool:
        """Write a file only if none exists; True for the one writer that created it."""
        path = self.path(name)
        if not self.is_local:
            return self._objects.create_exclusive(path, data)
        try:
            return _create_local(path, data)
        except OSError as error:
            raise _write_error(path, len(data), error) from error

    def read(self, name: str) -> bytes | None:
        """Read a complete file; None if it does not exist."""
        if not self.is_local:
            return self._objects.read(self.path(name))
        try:
            return bytes(self.filesystem.cat_file(self.path(name)))
        except FileNotFoundError:
            return None

    def open(self, name: str) -> IO[bytes]:
        """Open a file for partial reads.

        Raises:
            FileNotFoundError: the file does not exist.
        """
        return open(self.path(name), "rb") if self.is_local else self._objects.open(self.path(name))

    def names(self, folder: str) -> list[str]:
        """Names of the files directly in a folder, sorted, without temporary files."""
        return sorted(name for name, _ in self.entries(folder))

    def entries(self, folder: str) -> Iterator[tuple[str, int]]:
        """Names as :meth:`names` gives them, in any order, and sizes in bytes; that of a folder has no meaning."""
        for path, size in self._entries(self.path(folder)):
            name = path.rstrip("/").rsplit("/", 1)[-1]
            if not name.startswith("."):
                yield name, size

    def remove(self, name: str) -> None:
        """Remove a file or a folder with its contents, if it exists."""
        if not self.is_local:
            return self._objects.remove(self.path(name))
        try:
            self.filesystem.rm(self.path(name), recursive=True)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise DataError(
                f"{self.path(name)}: cannot be removed ({error.strerror or error}). Fix: remove it by hand and run the "
                "same command again."
            ) from error

    def _entries(self, folder: str) -> Iterator[tuple[str, int]]:
        if not self.is_local:
            yield from self._objects.entries(folder)
            return
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
            for entry in entries:
                yield entry.path, _size(entry)

    def remove_temporary(self, folder: str) -> None:
        """Remove temporary files that killed writers left in a folder; an object store has none."""
        for path in Path(self.path(folder)).glob(".*") if self.is_local else ():
            if is_temporary(path.name):
                with contextlib.suppress(OSError):
                    path.unlink()


def _size(entry: os.DirEntry[str]) -> int:
    with contextlib.suppress(FileNotFoundError):  # removed meanwhile
        return entry.stat().st_size
    return 0


def is_temporary(name: str) -> bool:
    """Check for the temporary name that a local write uses before its rename; readers ignore such files."""
    return re.fullmatch(r"\..+\.[0-9a-f]{32}", name) is not None


def _replace(path: str, source: IO[bytes]) -> None:
    with _fsynced_temporary(path, source) as temporary:
        os.replace(temporary, path)


def _create_local(path: str, data: bytes) -> bool:
    with _fsynced_temporary(path, io.BytesIO(data)) as temporary:
        try:
            os.link(temporary, path)
        except OSError as error:
            if os.stat(temporary).st_nlink == 1:  # NFS can report a success as a failure when its reply was lost
                if isinstance(error, FileExistsError):
                    return False
                raise
        try:
            _sync_folder(os.path.dirname(path))
        except OSError:  # a creation reported as failed must not be found by the next attempt
            os.unlink(path)
            raise
    return True


@contextlib.contextmanager
def _fsynced_temporary(path: str, source: IO[bytes]) -> Iterator[str]:
    """Write the data to a synced temporary file in the same folder; removed afterwards unless renamed."""
    folder, name = os.path.split(path)
    _make_folder(Path(folder))
    temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex}")
    try:
        with open(temporary, "wb") as file:
            shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(str(folder.parent))


def _sync_folder(folder: str) -> None:
    """Sync a folder: otherwise a power cut can lose the name of a file whose data is safe."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # SMB and some FUSE mounts cannot sync folders
            raise
    finally:
        os.close(descriptor)


def _write_error(path: str, size: int, error: OSError) -> DataError:
    reason = "no space left" if error.errno == errno.ENOSPC else (error.strerror or str(error))
    return DataError(
        f"{path}: {size:,} bytes could not be written ({reason}). Committed work stays valid. "
        "Fix: free space or choose another run.root, and run the same command again."
    )
