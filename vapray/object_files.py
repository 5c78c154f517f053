"""Whole objects on an object store: S3 and what speaks its protocol, or whatever else fsspec opens.

What goes wrong for a moment (a reset, a timeout, 503 Slow Down, an answer cut short) is tried again a bounded number of
times: botocore repeats requests, this file what it leaves. Every operation here can be repeated; that includes
:meth:`ObjectFiles.create`, which knows an object of its own making when the answer to the first attempt was lost.
What stays wrong becomes an error by ``vapray.object_errors``.
"""

import io
import random
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, TypeVar

from fsspec import AbstractFileSystem

from vapray.object_errors import error_code, explained

__all__ = ["ObjectFiles", "filesystem_options"]

ATTEMPTS = 5
LARGEST_PUT_BYTES = 5 * 2**30
FETCHED_WHOLE_BYTES = 4 * 2**20
WRITER = "vapray-writer"
"""Metadata of a created object: which attempt to create it was the one that did."""

Result = TypeVar("Result")


def filesystem_options(root: str) -> dict[str, Any]:
    """What fsspec is asked for beside the address; endpoint and credentials come from AWS's own environment."""
    if not root.startswith(("s3://", "s3a://")):
        return {}
    retries = {"mode": "standard", "total_max_attempts": ATTEMPTS}
    return {
        "use_listings_cache": False,  # other processes write too
        "max_concurrency": 1,  # one GET for an object; otherwise each is asked for its size first
        "config_kwargs": {"retries": retries, "connect_timeout": 5, "read_timeout": 15},
    }


class ObjectFiles:
    """Objects by their full path, ``bucket/key``.

    Args:
        filesystem: opened with :func:`filesystem_options`.

    Every method raises
        ConfigError: no such bucket, no or refused credentials, access denied.
        BackendError: the endpoint does not answer, after ``ATTEMPTS`` attempts.
        DataError: anything else that the store refuses.
    """

    def __init__(self, filesystem: AbstractFileSystem) -> None:
        self._filesystem = filesystem
        self._is_s3 = "s3" in filesystem.protocol
        if self._is_s3:
            filesystem.retries = 1  # its own loop would multiply botocore's

    def write(self, path: str, data: bytes) -> None:
        """One PUT, complete or not at all."""
        with explained("write", self._uri(path)):
            _repeat(lambda: self._filesystem.pipe_file(path, data, **self._put()))

    def create(self, path: str, data: bytes) -> bool:
        """One conditional PUT; True for the one of several writers that made the object."""
        mark = uuid.uuid4().hex
        with explained("create", self._uri(path)):
            try:
                _repeat(lambda: self._filesystem.pipe_file(path, data, mode="create", **self._put(mark)))
            except FileExistsError:
                return self._is_s3 and _repeat(lambda: self._filesystem.metadata(path)).get(WRITER) == mark
        return True

    def read(self, path: str, start: int | None = None, end: int | None = None) -> bytes | None:
        """An object or a range of its bytes, by one GET; None where there is none."""
        try:
            with explained("read", self._uri(path)):
                return bytes(_repeat(lambda: self._filesystem.cat_file(path, start=start, end=end)))
        except FileNotFoundError:
            return None

    def open(self, path: str) -> IO[bytes]:
        """An object to read ranges of; a small one is fetched whole, for several requests take longer than its bytes.

        Raises:
            FileNotFoundError: there is none.
        """
        with explained("open", self._uri(path)):
            size = _repeat(lambda: self._filesystem.info(path))["size"]
        if size > FETCHED_WHOLE_BYTES:
            return io.BufferedReader(_Ranges(self, path, size))
        return io.BytesIO(self.read(path) or b"")

    def paths(self, folder: str) -> list[str]:
        """Objects and folders directly below a folder."""
        try:
            with explained("list", self._uri(folder)):
                found = _repeat(lambda: self._filesystem.ls(folder, detail=False, refresh=True))
        except FileNotFoundError:
            return []
        # Other programs, Ray Train's pyarrow among them, leave empty objects that stand for the folder itself.
        return [path for path in found if path.rstrip("/") != folder.rstrip("/")]

    def remove(self, path: str) -> None:
        """Remove an object, or all below a folder; nothing there is fine."""
        with suppress(FileNotFoundError), explained("remove", self._uri(path)):
            _repeat(lambda: self._filesystem.rm(path, recursive=True))

    def _uri(self, path: str) -> str:
        return str(self._filesystem.unstrip_protocol(path))

    def _put(self, mark: str | None = None) -> dict[str, Any]:
        if not self._is_s3:
            return {}
        return {"chunksize": LARGEST_PUT_BYTES} | ({"Metadata": {WRITER: mark}} if mark else {})


class _Ranges(io.RawIOBase):
    """A file of which a read is one ranged GET: what pyarrow needs to take some columns of a large part."""

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


# A body cut short comes after botocore's part, and a conditional write that met another is for the writer to repeat.
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
