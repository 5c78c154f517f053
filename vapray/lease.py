"""One writer for each version of a table.

A lease is a chain of numbered files, ``lease-000001.json`` and on. The highest number holds. Only its holder
rewrites it (the heartbeat); whoever finds it expired, released, or held by a dead process of this machine creates the
next number, which the store grants to one of several. So a takeover needs no lock and no clock finer than the expiry.
"""

import contextlib
import json
import os
import socket
import threading
import time
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Self

from vapray.errors import DataError, LeaseHeld
from vapray.files import FileStore

__all__ = ["Lease"]

LIFETIME_SECONDS = 60.0


@dataclass(frozen=True)
class _Holder:
    owner: str
    host: str
    pid: int
    started: float
    expires: float

    def is_alive(self, now: float) -> bool:
        if self.expires <= now:
            return False
        if self.host != socket.gethostname():
            return True
        return _process_started(self.pid) == self.started


class Lease:
    """Context manager that holds ``folder`` against other writers.

    Raises:
        LeaseHeld: a live run holds it; says which and until when.
    """

    def __init__(self, files: FileStore, folder: str, *, lifetime_seconds: float = LIFETIME_SECONDS) -> None:
        self._files, self._folder, self._lifetime = files, folder, lifetime_seconds
        self._number = 0
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="vapray-lease", daemon=True)
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{time.time_ns()}"

    def __enter__(self) -> Self:
        number, holder = self._newest()
        if holder and holder.is_alive(time.time()):
            raise LeaseHeld(_held(self._files.path(self._folder), holder))
        if not self._files.create(self._name(number + 1), self._card(self._lifetime)):
            raise LeaseHeld(_held(self._files.path(self._folder), self._newest()[1]))
        self._number = number + 1
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._heart.join()
        if self.is_held():
            self._files.write(self._name(self._number), self._card(0.0))

    def is_held(self) -> bool:
        """False once another run has taken over, which can happen only after an expiry."""
        return self._newest()[0] == self._number

    def _beat(self) -> None:
        while not self._stop.wait(self._lifetime / 4):
            # A store that fails for a moment must not end the heart: the next beat tries again.
            with contextlib.suppress(DataError, OSError):
                if not self.is_held():
                    return
                self._files.write(self._name(self._number), self._card(self._lifetime))

    def _name(self, number: int) -> str:
        return f"{self._folder}/lease-{number:06d}.json"

    def _card(self, lifetime: float) -> bytes:
        pid = os.getpid()
        holder = _Holder(self._owner, socket.gethostname(), pid, _process_started(pid), time.time() + lifetime)
        return json.dumps(asdict(holder)).encode()

    def _newest(self) -> tuple[int, _Holder | None]:
        names = [name for name in self._files.names(self._folder) if name.startswith("lease-")]
        data = self._files.read(f"{self._folder}/{names[-1]}") if names else None
        if not data:
            return 0, None
        return int(names[-1][6:12]), _Holder(**json.loads(data))


def _process_started(pid: int) -> float:
    """Clock ticks since boot at which a process began; -1 where there is none. Tells a reused pid apart."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rsplit(b")", 1)[1].split()
    except OSError:
        return -1.0
    return -1.0 if fields[0] == b"Z" else float(fields[19])


def _held(path: str, holder: _Holder | None) -> str:
    who = f"process {holder.pid} on {holder.host}" if holder else "another run"
    left = f"{max(0, holder.expires - time.time()):.0f} s" if holder else "a moment"
    return (
        f"{path}: {who} is writing this version; its lease lives for another {left} and is being renewed. "
        "Wait for it, or stop it and run the same command again."
    )
