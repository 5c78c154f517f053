"""Ends what a killed driver's own Ray leaves behind.

Ray's head dies with the driver that started it, but its agents go on looking for it, for another minute or more. The
reaper is a process beside the driver that remembers the driver's descendants. When the driver is gone, however it went,
the pipe between them closes, and whatever of its family still lives is killed.
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

SECONDS_BETWEEN_LOOKS = 1.0
ROUNDS, SECONDS_BETWEEN_ROUNDS = 25, 0.2  # what was just being started shows up in a later round


@contextmanager
def reaped() -> Iterator[None]:
    """For the time of a ``with`` block, what this process starts does not outlive it by more than seconds."""
    command = [sys.executable, "-I", "-S", __file__, str(os.getpid())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as reaper:
        try:
            yield
        finally:
            reaper.kill()  # an orderly end cleans up by itself


def _reap(driver: int) -> None:
    family: dict[int, int] = {}
    while not select.select([sys.stdin], [], [], SECONDS_BETWEEN_LOOKS)[0]:
        family = _grown(family, driver)
    for _ in range(ROUNDS):
        family = _grown(family)
        for pid in filter(_is_rays, family):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(SECONDS_BETWEEN_ROUNDS)


def _grown(family: dict[int, int], *parents: int) -> dict[int, int]:
    """By pid, the start of those who still live, and of all their children; a start tells a reused pid apart."""
    processes = dict(_processes())
    family = {pid: start for pid, start in family.items() if processes.get(pid, (0, -1))[1] == start}
    generation = {*family, *parents}
    while generation:
        born = {pid: start for pid, (parent, start) in processes.items() if parent in generation and pid not in family}
        born.pop(os.getpid(), None)
        family |= born
        generation = set(born)
    return family


def _is_rays(pid: int) -> bool:
    """Whether the process is one of Ray's; a driver in somebody's notebook has other children, too."""
    with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return b"ray" in file.read()
    return False


def _processes() -> Iterator[tuple[int, tuple[int, int]]]:
    """(pid, (its parent's, clock ticks from boot to its start)) of every process."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rsplit(b")", 1)[1].split()
                yield int(name), (int(fields[1]), int(fields[19]))


if __name__ == "__main__":
    _reap(int(sys.argv[1]))
