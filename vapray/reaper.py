"""Ends what a killed driver's own Ray leaves behind.

Ray's head dies with the driver that started it, but its agents go on looking for it, for another minute or more. The
reaper is a process that holds nothing but the end of a pipe. When the driver is gone, however it went, the pipe closes,
and every process is killed that has inherited the driver's mark.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["reaped"]

MARK = "VAPRAY_DRIVER"
ROUNDS, SECONDS_BETWEEN_ROUNDS = 25, 0.2  # what was just being started shows up in a later round


@contextmanager
def reaped() -> Iterator[None]:
    """For the time of a ``with`` block, what this process starts does not outlive it by more than seconds."""
    mark = f"{os.getpid()}-{time.time_ns()}"
    os.environ[MARK] = mark
    command = [sys.executable, "-I", "-S", __file__, mark]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as reaper:
        try:
            yield
        finally:
            os.environ.pop(MARK, None)
            reaper.kill()  # an orderly end cleans up by itself


def _reap(mark: str) -> None:
    sys.stdin.buffer.read()
    for _ in range(ROUNDS):
        for pid in _marked(mark):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(SECONDS_BETWEEN_ROUNDS)


def _marked(mark: str) -> Iterator[int]:
    wanted = f"{MARK}={mark}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0") and int(folder.name) != os.getpid():
                yield int(folder.name)


if __name__ == "__main__":
    _reap(sys.argv[1])
