"""Reaper process that kills the descendants of a killed process.

Ray's head dies with the driver that started it, but its agents keep searching for it for a minute or more, and the
workers of an engine may run indefinitely. The reaper is a separate process that records the descendants of the process
it watches. When the watched process ends for any reason, the pipe between them closes, and the reaper kills the
descendants that still run.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["reaped"]

ORDERLY_END = b"."
SECONDS_BETWEEN_LOOKS = 1.0
ROUNDS, SECONDS_BETWEEN_ROUNDS = 25, 0.2  # processes that are just starting appear in a later round


@contextmanager
def reaped(sign: str = "") -> Iterator[None]:
    """Ensure that processes started in a ``with`` block outlive this process by seconds at most.

    Args:
        sign: Text in the command line of the processes to kill, together with their descendants. A driver in a
            notebook has other children, too.
    """
    command = [sys.executable, "-I", "-S", __file__, str(os.getpid()), sign]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as reaper:
        assert reaper.stdin is not None
        reaper.wait()
        try:
            yield
        finally:
            with suppress(BrokenPipeError):
                reaper.stdin.write(ORDERLY_END)
                reaper.stdin.flush()


class _Family:
    """Descendants of a process, recorded even after processes between them have died."""

    def __init__(self, sign: bytes) -> None:
        self._sign = sign
        self._started: dict[int, int] = {}  # start time by pid; distinguishes reused pids
        self._doomed: set[int] = set()

    def look(self, *roots: int) -> None:
        """Record new children of recorded processes and of ``roots``."""
        processes = dict(_processes())
        for pid, start in [*self._started.items()]:
            if processes.get(pid, (0, -1))[1] != start:
                del self._started[pid]
        generation = {*self._started, *roots}
        while generation:
            born = {
                pid: (parent, start)
                for pid, (parent, start) in processes.items()
                if parent in generation and pid not in self._started and pid != os.getpid()
            }
            self._started |= {pid: start for pid, (_, start) in born.items()}
            self._doomed |= {pid for pid, (parent, _) in born.items() if parent in self._doomed}
            generation = set(born)
        self._doomed |= {pid for pid in self._started if self._sign in _command(pid)}

    def kill(self) -> None:
        """Kill the recorded processes that match the sign, and their descendants."""
        for pid in self._doomed & self._started.keys():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _reap(root: int, sign: bytes) -> None:
    family = _Family(sign)
    while not select.select([sys.stdin], [], [], SECONDS_BETWEEN_LOOKS)[0]:
        family.look(root)
    if os.read(sys.stdin.fileno(), 1) == ORDERLY_END:
        return
    for _ in range(ROUNDS):
        family.look()
        family.kill()
        time.sleep(SECONDS_BETWEEN_ROUNDS)


def _command(pid: int) -> bytes:
    with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read()
    return b""


def _processes() -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield (pid, (parent pid, start time in clock ticks since boot)) of every process."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rsplit(b")", 1)[1].split()
                yield int(name), (int(fields[1]), int(fields[19]))


if __name__ == "__main__":
    if os.fork():  # detach from the parent: Ray ends an actor's children with it
        os._exit(0)
    _reap(int(sys.argv[1]), sys.argv[2].encode())
