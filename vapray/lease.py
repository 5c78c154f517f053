"""One writer for each version of a table.

A lease is a chain of numbered files, ``lease-000001.json`` and on. The highest number holds. Only its holder
rewrites it (the heartbeat); whoever finds it expired, released, or held by a dead process of this machine creates the
next number, which the store grants to one of several. So a takeover needs no lock and no clock finer than the expiry.

Clocks of two machines may differ by three quarters of the lifetime. Beyond that, and after a pause longer than the
lifetime, a holder can be overtaken while it works: it then sees a higher number than its own and must not seal, and
what it still writes changes nothing, since the first part, and the first manifest, stand.
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

from vapray.errors import LeaseHeld
from vapray.files import FileStore

__all__ = ["Lease", "live_holder"]

LIFETIME_SECONDS = 60.0


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
        return f"process {self.pid} on {self.host}" if self.pid else "a run whose lease card is damaged"


class Lease:
    """Context manager that holds ``folder`` against other writers.

    Args:
        files: where.
        folder: below it.
        lifetime_seconds: how long a holder that is not heard of counts as alive; the same for all.
        clock: seconds since the epoch.

    Raises:
        LeaseHeld: a live run holds it; says which and until when.
    """

    def __init__(
        self,
        files: FileStore,
        folder: str,
        *,
        lifetime_seconds: float = LIFETIME_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._files, self._folder, self._lifetime, self._clock = files, folder, lifetime_seconds, clock
        self._number = 0
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="vapray-lease", daemon=True)
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{time.time_ns()}"

    def __enter__(self) -> Self:
        number = self._newest()
        if holder := self._living(number):
            raise LeaseHeld(self._held(str(holder), holder.expires))
        if not self._files.create(self._name(number + 1), self._card(self._clock() + self._lifetime)):
            raise LeaseHeld(self._held("another run", self._clock() + self._lifetime))
        self._number = number + 1
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._heart.join()
        # A store that cannot take the release must not hide how the stage ended: the lease runs out by itself.
        with contextlib.suppress(Exception):
            if self.is_held():
                self._files.write(self._name(self._number), self._card(expires=0.0))

    def is_held(self) -> bool:
        """False once another run has taken over, which can happen only after an expiry."""
        return self._newest() == self._number

    def _beat(self) -> None:
        while not self._stop.wait(self._lifetime / 4):
            # A store that fails for a moment must not end the heart: the next beat tries again.
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
        """Who holds; a card that cannot be read stands for a holder whose last heartbeat wrote it."""
        with contextlib.suppress(ValueError, TypeError):
            holder = _Holder(**json.loads(self._files.read(self._name(number)) or b""))
            # No heartbeat writes more than one lifetime, and clocks differ by less than another.
            if holder.expires < (self._written(number) or self._clock()) + 2 * self._lifetime:
                return holder
        return _Holder("", "", "", 0, 0.0, self._written(number) + self._lifetime)

    def _written(self, number: int) -> float:
        """When the store last took a card; long ago where it cannot tell."""
        with contextlib.suppress(Exception):
            written = self._files.filesystem.modified(self._files.path(self._name(number)))
            return written.timestamp() if isinstance(written, datetime) else float(written)
        return 0.0

    def _held(self, who: str, expires: float) -> str:
        return (
            f"{self._files.path(self._folder)}: {who} is writing this version; its lease lives for another "
            f"{max(0, expires - self._clock()):.0f} s and is being renewed. "
            "Wait for it, or stop it and run the same command again."
        )


def live_holder(files: FileStore, folder: str) -> str | None:
    """Who is writing a version, in words; None where nobody is. Takes nothing and writes nothing."""
    lease = Lease(files, folder)
    holder = lease._living(lease._newest())
    return str(holder) if holder else None


def _machine() -> str:
    """Where a pid means one process: the boot of a kernel, and the namespace of a container within it."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _process_started(pid: int) -> float:
    """Clock ticks since boot at which a process began; -1 where there is none. Tells a reused pid apart."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rsplit(b")", 1)[1].split()
    except OSError:
        return -1.0
    return -1.0 if fields[0] == b"Z" else float(fields[19])
