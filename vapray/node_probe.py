"""Probe of a cluster node, pickled by value, so that the node needs only Python and Ray.

It needs no file of this project on the node, because it checks for their presence.
"""

import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import tempfile
import time
from typing import Any

__all__ = ["NodeProbe"]

SHARED_MEMORY = "/dev/shm"  # noqa: S108
PACKAGES = ("ray", "vapray", "torch")


class NodeProbe:
    """Actor class of the probe; one actor runs on each node."""

    def __init__(self) -> None:
        self._opened: dict[str, Any] = {}

    def look(self, root: str, data_root: str | None) -> dict[str, Any]:
        """Report versions of Python and packages (None: not found), disk sizes in bytes and access to the folders."""
        disk = shutil.disk_usage(tempfile.gettempdir())
        shared = shutil.disk_usage(SHARED_MEMORY) if os.path.isdir(SHARED_MEMORY) else None
        return {
            "python": platform.python_version(),
            "packages": {name: _version(name) for name in PACKAGES},
            "opens_root": "://" not in root or _version("vapray") is not None,
            "disk": [disk.free, disk.total],
            "shared_memory": [shared.free, shared.total] if shared else None,
            "data_root": _trouble_with(data_root) if data_root else None,
        }

    def now(self) -> float:
        """Time of the node's clock, in seconds since the epoch."""
        return time.time()

    def write(self, root: str, name: str, data: bytes) -> str | None:
        """Write a file below a folder or URI; return the error as text, or None."""
        try:
            self._files(root).write(name, data)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return None

    def read(self, root: str, name: str) -> bytes | str | None:
        """Read a file: its bytes, None if it does not exist, or the error as text."""
        try:
            found: bytes | None = self._files(root).read(name)
            return found
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    def remove(self, root: str, name: str) -> None:
        """Remove a file and the folders that were created for it."""
        self._files(root).remove(name)

    def _files(self, root: str) -> Any:
        if root not in self._opened:
            self._opened[root] = _files(root)
        return self._opened[root]


class _Folder:
    """Local folder of a node, for nodes without ``vapray``."""

    def __init__(self, root: str) -> None:
        self.root, self.missing = root, _missing(root)

    def write(self, name: str, data: bytes) -> None:
        os.makedirs(self.root, exist_ok=True)
        with open(os.path.join(self.root, name), "wb") as file:
            file.write(data)

    def read(self, name: str) -> bytes | None:
        try:
            with open(os.path.join(self.root, name), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(self.root, name))
            for folder in self.missing:
                os.rmdir(folder)


def _files(root: str) -> Any:
    if "://" not in root:
        return _Folder(root)
    from vapray.files import FileStore

    return FileStore(root)


def _missing(folder: str) -> list[str]:
    """Missing folders on the path of a folder, deepest first."""
    if os.path.isdir(folder) or folder == os.path.dirname(folder):
        return []
    return [folder, *_missing(os.path.dirname(folder))]


def _version(name: str) -> str | None:
    if importlib.util.find_spec(name) is None:
        return None
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"


def _trouble_with(folder: str) -> str | None:
    try:
        with os.scandir(folder) as entries:
            return None if any(True for _ in entries) else "is empty"
    except OSError as error:
        return error.strerror or str(error)
