"""Images in progress of each API key; further ones wait, so that they do not fill the queues of the samplers."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from serve.errors import deadline_exceeded, overloaded
from serve.settings import RequestLimits

__all__ = ["KeyWindows"]

RETRY_AFTER_S = 2.0


@dataclass
class _Window:
    places: asyncio.Semaphore
    images: int = 0
    """In progress and waiting."""


class KeyWindows:
    """Window of each key; each ingress replica has its own.

    Args:
        limits: ``images_in_progress`` and ``images_waiting``.
    """

    def __init__(self, limits: RequestLimits) -> None:
        self._limits = limits
        self._windows: dict[str, _Window] = {}

    @contextlib.asynccontextmanager
    async def place(self, key: str, deadline: float | None) -> AsyncIterator[None]:
        """Hold a place of a key, in the order of arrival.

        Args:
            key: Id of the key.
            deadline: Unix time until which to wait for it.

        Raises:
            ApiError: 429, too many images of the key wait; 504, the deadline passed.
        """
        size = self._limits.images_in_progress
        window = self._windows.setdefault(key, _Window(asyncio.Semaphore(size)))
        if window.images >= size + self._limits.images_waiting:
            raise overloaded(RETRY_AFTER_S)
        window.images += 1
        try:
            try:
                async with asyncio.timeout(None if deadline is None else max(0.0, deadline - time.time())):
                    await window.places.acquire()
            except TimeoutError:
                raise deadline_exceeded() from None
            try:
                yield
            finally:
                window.places.release()
        finally:
            window.images -= 1
            if not window.images:
                del self._windows[key]
