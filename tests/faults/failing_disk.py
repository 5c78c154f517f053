"""A disk that fails, or loses its process, at the n-th thing it is asked to do.

Patches what ``vapray.store.files`` calls of the operating system, in this process. Folders are not really synced, which
makes thousands of faults cheap; that they would be is counted like every other operation.
"""

import builtins
import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

import pytest

import vapray.store.files

When = Literal["before", "after", "half"]
CHANGES = ("mkdir", "fsync", "replace", "link", "unlink", "remove", "rmdir")


class Killed(BaseException):
    """The process ended here: nothing after it happens, no clean-up either."""


@contextmanager
def folder_in_memory() -> Iterator[Path]:
    """A folder for thousands of small files."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


class FailingDisk:
    """Counts operations that change the disk, and strikes at one of them.

    Args:
        at: which, from 1; 0 for none.
        when: ``before`` or ``after`` it takes effect; ``half`` writes half of the data first.
        fault: an errno, or None to kill the process: from then on every operation raises :class:`Killed`.
    """

    def __init__(self, at: int = 0, when: When = "before", fault: int | None = errno.ENOSPC) -> None:
        self.at, self.when, self.fault = at, when, fault
        self.operations: list[str] = []
        self.struck = ""

    def perform(self, name: str, real: Callable[[], Any], half: Callable[[], Any] = lambda: None) -> Any:
        """Do an operation, or what the fault leaves of it."""
        self.operations.append(name)
        if self.struck and self.fault is None:
            raise Killed(name)
        if len(self.operations) != self.at:
            return real()
        self.struck = name
        if self.when == "after":
            real()
        elif self.when == "half":
            half()
        raise Killed(name) if self.fault is None else OSError(self.fault, os.strerror(self.fault))

    @contextmanager
    def installed(self) -> Iterator[Self]:
        """While this process lives on this disk."""
        with pytest.MonkeyPatch.context() as patch:
            for name in CHANGES:
                patch.setattr(os, name, self._wrapped(name, getattr(os, name)))
            patch.setattr(vapray.store.files, "open", self._open, raising=False)
            yield self

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        call = (lambda *_, **__: None) if name == "fsync" else real
        return lambda *args, **kwargs: self.perform(name, lambda: call(*args, **kwargs))

    def _open(self, path: str, mode: str) -> Any:
        if mode == "rb":
            return builtins.open(path, mode)
        self.perform("open", lambda: builtins.open(path, mode).close())
        return _File(self, builtins.open(path, mode))


class _File:
    def __init__(self, disk: FailingDisk, file: Any) -> None:
        self._disk, self._file = disk, file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: bytes) -> int:
        return self._disk.perform(
            "write", lambda: self._file.write(data), half=lambda: self._file.write(data[: len(data) // 2])
        )
