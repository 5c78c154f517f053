"""Leases that allow one writer for each version of a table.

A lease is a chain of numbered files, ``lease-000001.json`` and on; the highest number is valid. Only its holder
rewrites it (the heartbeat). A run that finds it expired, released, or held by a dead process of this machine creates
the next number, which the store grants to one of several writers. So a takeover needs no lock and no clock finer than
the expiry.

Clocks of two machines may differ by three quarters of the lifetime. Beyond that, and after a pause longer than the
lifetime, another run can take over while the holder works. The holder then sees a number higher than its own and must
not seal. Its later writes change nothing, because the first part and the first manifest of a name are kept.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from types import TracebackType
from typing import Self

from vapray.errors import LeaseHeldError
from vapray.store.files import FileStore

__all__ = ["Lease", "live_holder"]

LIFETIME_SECONDS = 60.0
SECONDS_BETWEEN_ATTEMPTS = 2.0


@dataclass(frozen=True)
class _Holder:
    owner: str
    host: str
    machine: str
    pid: int
    started: float
    expires: float

    def is_alive(self, now: float) -> bool:
        if self.expires <= now:
            return False
        if self.machine != _machine():
            return True
        return _process_started(self.pid) == self.started

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" if self.pid else "a run whose lease file is damaged"


class Lease:
    """Context manager that locks a folder against other writers.

    Args:
        files: Store that holds the run.
        folder: Version folder, relative to the store root.
        on_wait: Logs once that a live run holds the lease, and then waits for it; None raises instead.
        lifetime_seconds: Time after its last heartbeat for which a holder counts as alive; the same for all writers.
        clock: Returns seconds since the epoch.

    Raises:
        LeaseHeldError: a live run holds the lease and ``on_wait`` is None; names the holder and the expiry.
    """

    def __init__(
        self,
        files: FileStore,
        folder: str,
        *,
        on_wait: Callable[[str], None] | None = None,
        lifetime_seconds: float = LIFETIME_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._files, self._folder, self._lifetime, self._clock = files, folder, lifetime_seconds, clock
        self._number, self._on_wait = 0, on_wait
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="vapray-lease", daemon=True)
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{time.time_ns()}"

    def __enter__(self) -> Self:
        is_logged = False
        while refusal := self._acquire():
            if self._on_wait is None:
                raise LeaseHeldError(refusal)
            if not is_logged:
                self._on_wait(refusal)
            is_logged = True
            time.sleep(SECONDS_BETWEEN_ATTEMPTS)
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._heart.join()
        # A failed release must not hide the stage's own error; the lease expires by itself.
        with contextlib.suppress(Exception):
            if self.is_held():
                self._files.write(self._name(self._number), self._card(expires=0.0))

    def is_held(self) -> bool:
        """Check that no other run has taken over, which can happen only after an expiry."""
        return self._newest() == self._number

    def _acquire(self) -> str | None:
        """Create the next lease file; return the reason if another run holds the lease."""
        number = self._newest()
        if holder := self._living(number):
            return self._held(str(holder), holder.expires)
        if not self._files.create_exclusive(self._name(number + 1), self._card(self._clock() + self._lifetime)):
            return self._held("another run", self._clock() + self._lifetime)
        self._number = number + 1
        return None

    def _beat(self) -> None:
        while not self._stop.wait(self._lifetime / 4):
            # A temporary store failure must not end the heartbeat; the next beat tries again.
            with contextlib.suppress(Exception):
                if not self.is_held():
                    return
                self._files.write(self._name(self._number), self._card(self._clock() + self._lifetime))

    def _name(self, number: int) -> str:
        return f"{self._folder}/lease-{number:06d}.json"

    def _card(self, expires: float) -> bytes:
        pid = os.getpid()
        holder = _Holder(self._owner, socket.gethostname(), _machine(), pid, _process_started(pid), expires)
        return json.dumps(asdict(holder)).encode()

    def _newest(self) -> int:
        names = (name for name in self._files.names(self._folder) if name.startswith("lease-"))
        return max((int(name[6:-5]) for name in names), default=0)

    def _living(self, number: int) -> _Holder | None:
        holder = self._holder(number) if number else None
        return holder if holder and holder.is_alive(self._clock()) else None

    def _holder(self, number: int) -> _Holder:
        """Read a lease file; an unreadable one counts as a holder whose last heartbeat wrote it."""
        with contextlib.suppress(ValueError, TypeError):
            holder = _Holder(**json.loads(self._files.read(self._name(number)) or b""))
            # A heartbeat extends by one lifetime, and clocks differ by less than one more.
            if holder.expires < (self._written(number) or self._clock()) + 2 * self._lifetime:
                return holder
        return _Holder("", "", "", 0, 0.0, self._written(number) + self._lifetime)

    def _written(self, number: int) -> float:
        """Time of the last write of a lease file, in seconds since the epoch; 0 if the store does not record it."""
        with contextlib.suppress(Exception):
            written = self._files.filesystem.modified(self._files.path(self._name(number)))
            return written.timestamp() if isinstance(written, datetime) else float(written)
        return 0.0

    def _held(self, who: str, expires: float) -> str:
        return (
            f"{self._files.path(self._folder)}: {who} is writing this version (its lease is renewed; "
            f"{max(0, expires - self._clock()):.0f} s left). "
            "Fix: wait, or stop that run and run the same command again."
        )


def live_holder(files: FileStore, folder: str) -> str | None:
    """Describe the run that is writing a version, or None; takes no lease and writes nothing."""
    lease = Lease(files, folder)
    holder = lease._living(lease._newest())
    return str(holder) if holder else None


def _machine() -> str:
    """Scope in which a pid identifies one process: boot id and pid namespace, else the host name."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _process_started(pid: int) -> float:
    """Start time of a process in clock ticks since boot, which distinguishes reused pids; -1 if it is not running."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rsplit(b")", 1)[1].split()
    except OSError:
        return -1.0
    return -1.0 if fields[0] == b"Z" else float(fields[19])
