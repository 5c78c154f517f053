"""Middleware of Ray Serve's HTTP proxy that closes connections of clients that do not read their response.

The proxy keeps in memory what a client has not read, and has no limit for it: uvicorn waits for the client without a
timeout, also when it closes a connection. ``vapray serve`` and the images of ``cluster/`` name
:func:`proxy_middlewares` in ``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH``, and each proxy calls it at its start.
"""

import asyncio
from functools import partial

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["SlowReaderMiddleware", "proxy_middlewares"]

SECONDS, BYTES_PER_SECOND = 30.0, 1024


def proxy_middlewares() -> list[Middleware]:
    """Middlewares of a proxy, outside of those of Ray Serve."""
    return [Middleware(SlowReaderMiddleware)]


class SlowReaderMiddleware:
    """ASGI middleware that aborts a connection whose client reads slower than ``BYTES_PER_SECOND``.

    It has to be the outermost one below uvicorn, whose ``send`` leads to the connection's transport. With another
    server it does nothing.

    Args:
        app: Application to call.
        seconds: Time over which the rate is measured.
    """

    def __init__(self, app: ASGIApp, seconds: float = SECONDS) -> None:
        self.app, self._seconds = app, seconds
        self._connections: dict[asyncio.Transport, _Connection] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        transport = getattr(getattr(send, "__self__", None), "transport", None)
        if scope["type"] != "http" or transport is None:
            await self.app(scope, receive, send)
            return
        connection = self._connections.get(transport)
        if connection is None:
            connection = self._connections[transport] = _Connection(transport)
            self._check_later(connection)
        connection.responses += 1
        try:
            await self.app(scope, receive, partial(connection.send, send))
        finally:
            connection.responses -= 1
            asyncio.get_running_loop().call_soon(self._release, connection)

    def _check_later(self, connection: "_Connection") -> None:
        connection.check = asyncio.get_running_loop().call_later(self._seconds, self._check, connection)

    def _check(self, connection: "_Connection") -> None:
        if connection.reads(self._seconds * BYTES_PER_SECOND):
            self._check_later(connection)
        else:
            self._connections.pop(connection.transport, None)

    def _release(self, connection: "_Connection") -> None:
        """Stop watching at once when everything was read: many short requests would otherwise hold memory."""
        if connection.is_done() and self._connections.get(connection.transport) is connection:
            del self._connections[connection.transport]
            connection.stop()


class _Connection:
    """Bytes that a connection has been given, and those that its client has read."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport, self.responses = transport, 0
        self.check: asyncio.TimerHandle | None = None
        self._given = self._read = self._unread = 0

    async def send(self, send: Send, message: Message) -> None:
        """Send a message and count its body."""
        await send(message)
        self._given += len(message.get("body", b""))

    def stop(self) -> None:
        """Cancel the next check."""
        if self.check:
            self.check.cancel()

    def is_done(self) -> bool:
        """Tell whether no response is under way and none is unread."""
        return not self.responses and not self.transport.get_write_buffer_size()

    def reads(self, least: float) -> bool:
        """Tell whether to go on watching; abort if the client had bytes to read and read fewer than ``least`` of them.

        It had if there were some at the last call, too: a message that was written a moment ago proves nothing.
        """
        had, self._unread = self._unread, self.transport.get_write_buffer_size()
        before, self._read = self._read, self._given - self._unread
        if had and self._unread and self._read - before < least:
            self.transport.abort()
            return False
        return bool(self._unread or self.responses)
