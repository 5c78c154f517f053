"""Objects on an object store: S3 and compatible stores, or any other filesystem that fsspec opens.

Temporary failures (a reset, a timeout, 503 Slow Down, a truncated answer) are retried a bounded number of times:
botocore retries most of them, this module the rest. Every operation can be repeated. That includes
:meth:`ObjectFiles.create_exclusive`, which recognizes its own object when the answer to the first attempt was lost.
Permanent failures become errors of ``vapray.store.object_errors``.
"""

import io
import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from fsspec import AbstractFileSystem

from vapray.store.object_errors import error_code, explained

__all__ = ["ObjectFiles", "filesystem_options"]

ATTEMPTS = 5
LARGEST_PUT_BYTES = 5 * 2**30
FETCHED_WHOLE_BYTES = 4 * 2**20
WRITER = "vapray-writer"
"""Metadata key of a created object: identifies the attempt that created it."""

Result = TypeVar("Result")


def filesystem_options(root: str) -> dict[str, Any]:
    """Options of fsspec for a root; endpoint and credentials come from AWS's environment variables."""
    if not root.startswith(("s3://", "s3a://")):
        return {}
    retries = {"mode": "standard", "total_max_attempts": ATTEMPTS}
    return {
        "use_listings_cache": False,  # other processes write too
        "max_concurrency": 1,  # one GET for an object; otherwise fsspec requests its size first
        "config_kwargs": {"retries": retries, "connect_timeout": 5, "read_timeout": 15},
    }


class ObjectFiles:
    """Objects by their full path, ``bucket/key``.

    Args:
        filesystem: opened with :func:`filesystem_options`.

    Every method raises
        ConfigError: no such bucket, no or refused credentials, access denied.
        BackendError: the endpoint does not answer, after ``ATTEMPTS`` attempts.
        DataError: any other refusal of the store.
    """

    def __init__(self, filesystem: AbstractFileSystem) -> None:
        self._filesystem = filesystem
        self._is_s3 = "s3" in filesystem.protocol
        if self._is_s3:
            filesystem.retries = 1  # s3fs's retries would multiply botocore's

    def write(self, path: str, data: bytes) -> None:
        """Write an object by one atomic PUT."""
        with explained("write", self._uri(path)):
            _repeat(lambda: self._filesystem.pipe_file(path, data, **self._put()))

    def upload(self, path: str, source: Path) -> None:
        """Write an object from a local file, in parts; it exists once all are there."""
        with explained("write", self._uri(path)):
            _repeat(lambda: self._filesystem.put_file(str(source), path))

    def create_exclusive(self, path: str, data: bytes) -> bool:
        """Create an object by one conditional PUT; True for the one of several writers that created it."""
        mark = uuid.uuid4().hex
        with explained("create", self._uri(path)):
            try:
                _repeat(lambda: self._filesystem.pipe_file(path, data, mode="create", **self._put(mark)))
            except FileExistsError:
                return self._is_s3 and _repeat(lambda: self._filesystem.metadata(path)).get(WRITER) == mark
        return True

    def read(self, path: str, start: int | None = None, end: int | None = None) -> bytes | None:
        """Read an object or a range of its bytes by one GET; None if it does not exist."""
        try:
            with explained("read", self._uri(path)):
                return bytes(_repeat(lambda: self._filesystem.cat_file(path, start=start, end=end)))
        except FileNotFoundError:
            return None

    def open(self, path: str) -> IO[bytes]:
        """Open an object for ranged reads; a small one is fetched at once, since several requests take longer.

        Raises:
            FileNotFoundError: the object does not exist.
        """
        with explained("open", self._uri(path)):
            size = _repeat(lambda: self._filesystem.info(path))["size"]
        if size > FETCHED_WHOLE_BYTES:
            return io.BufferedReader(_Ranges(self, path, size))
        return io.BytesIO(self.read(path) or b"")

    def entries(self, folder: str) -> Iterator[tuple[str, int]]:
        """Paths of the objects and folders directly below a folder, and sizes in bytes; 0 for a folder."""
        try:
            with explained("list", self._uri(folder)):
                found = _repeat(lambda: self._filesystem.ls(folder, detail=True, refresh=True))
        except FileNotFoundError:
            return
        # Other programs, such as Ray Train's pyarrow, leave empty objects that represent the folder itself.
        for one in found:
            if one["name"].rstrip("/") != folder.rstrip("/"):
                yield one["name"], int(one.get("size") or 0)

    def remove(self, path: str) -> None:
        """Remove an object, or all objects below a folder, if any exist."""
        with suppress(FileNotFoundError), explained("remove", self._uri(path)):
            _repeat(lambda: self._filesystem.rm(path, recursive=True))

    def _uri(self, path: str) -> str:
        return str(self._filesystem.unstrip_protocol(path))

    def _put(self, mark: str | None = None) -> dict[str, Any]:
        if not self._is_s3:
            return {}
        return {"chunksize": LARGEST_PUT_BYTES} | ({"Metadata": {WRITER: mark}} if mark else {})


class _Ranges(io.RawIOBase):
    """File whose reads are ranged GETs, so that pyarrow reads single columns of a large part."""

    def __init__(self, objects: ObjectFiles, path: str, size: int) -> None:
        self._objects, self._path, self._size, self._position = objects, path, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def readall(self) -> bytes:
        return self.read(max(0, self._size - self._position)) or b""

    def readinto(self, buffer: Any) -> int:
        end = min(self._position + len(buffer), self._size)
        if end <= self._position:
            return 0
        data = self._objects.read(self._path, self._position, end)
        if data is None:
            raise FileNotFoundError(self._path)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


# botocore does not retry truncated bodies, nor conditional writes that conflict with another writer.
_PASSING = {"ClientPayloadError", "ResponseParserError", "ConditionalRequestConflict", "OperationAborted"}


def _repeat(attempt: Callable[[], Result]) -> Result:
    for number in range(1, ATTEMPTS):
        try:
            return attempt()
        except Exception as error:
            if error_code(error) not in _PASSING:
                raise
            time.sleep(random.uniform(0, 0.1 * 2**number))
    return attempt()
