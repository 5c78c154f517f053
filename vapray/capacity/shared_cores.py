"""Cores that starting processes share: each goes at full speed while there is one for it, else at its share."""

import math
from collections import deque

__all__ = ["SharedCores"]


class SharedCores:
    """Equal pieces of work on some cores, so that who began first ends first.

    Args:
        cores: that all share; None: each has one.
        seconds: of one piece on a core of its own.
        now: the time at the beginning.
    """

    def __init__(self, cores: int | None, seconds: float, now: float) -> None:
        self._cores, self._seconds = cores, seconds
        self._now, self._done = now, 0.0
        self._ends: deque[tuple[float, int]] = deque()

    def begin(self, number: int, now: float) -> None:
        """Another one."""
        self._advance(now)
        self._ends.append((self._done + self._seconds, number))

    def next_end(self) -> float:
        """When the first of all will end unless another one begins; infinite where there is none."""
        return self._now + (self._ends[0][0] - self._done) / self._speed() if self._ends else math.inf

    def ended(self, now: float) -> list[int]:
        """Those that have ended since."""
        self._advance(now)
        over = []
        while self._ends and self._ends[0][0] <= self._done + 1e-9 * (1 + self._seconds):
            over.append(self._ends.popleft()[1])
        return over

    def _advance(self, now: float) -> None:
        """Time passes; each has done ``_done`` of work since the beginning, whenever it began itself."""
        self._done += (now - self._now) * self._speed()
        self._now = now

    def _speed(self) -> float:
        return min(1.0, self._cores / len(self._ends)) if self._cores and self._ends else 1.0
