"""Ends what a killed process leaves behind.

Ray's head dies with the driver that started it, but its agents go on looking for it, for another minute or more; and an
engine's workers may go on for ever. The reaper is a process beside the one that it watches and remembers the latter's
descendants. When the watched one is gone, however it went, the pipe between them closes, and whatever of its family
still lives is killed.
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
ROUNDS, SECONDS_BETWEEN_ROUNDS = 25, 0.2  # what was just being started shows up in a later round


@contextmanager
def reaped(sign: str = "") -> Iterator[None]:
    """For the time of a ``with`` block, what this process starts does not outlive it by more than seconds.

    Args:
        sign: only processes whose command holds it, and what they started; a driver in somebody's notebook has other
            children, too.
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
    """A process's descendants, remembered beyond the deaths between them."""

    def __init__(self, sign: bytes) -> None:
        self._sign = sign
        self._started: dict[int, int] = {}  # by pid; tells a reused pid apart
        self._doomed: set[int] = set()

    def look(self, *roots: int) -> None:
        """Take in who was born since, to one of the family or to these."""
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
        """All that are to go."""
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
    """(pid, (its parent's, clock ticks from boot to its start)) of every process."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rsplit(b")", 1)[1].split()
                yield int(name), (int(fields[1]), int(fields[19]))


if __name__ == "__main__":
    if os.fork():  # nobody's child: Ray ends an actor's children together with it
        os._exit(0)
    _reap(int(sys.argv[1]), sys.argv[2].encode())
