"""Middleware for limits of the request body, and for cancelling work when the client disconnects."""

import asyncio
import contextlib

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.errors import ApiError
from serve.settings import RequestLimits

__all__ = ["RequestBodyMiddleware"]

MIB = 2**20


class RequestBodyMiddleware:
    """ASGI middleware that reads the complete body first, and cancels the work if the client disconnects."""

    def __init__(self, app: ASGIApp, limits: RequestLimits) -> None:
        self.app, self._limits = app, limits
        self._max_bytes = round(limits.body_mib * MIB)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; raises ApiError 408 and 413."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        with contextlib.suppress(ClientDisconnect):
            body = await self._read(Headers(scope=scope), receive)
            await self._work(scope, body, receive, send)

    async def _read(self, headers: Headers, receive: Receive) -> bytes:
        length = headers.get("content-length", "0")
        if length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > self._max_bytes):
            raise self._too_large()
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                return await self._collect(receive)
        except TimeoutError:
            seconds = f"{self._limits.body_timeout_s:g} s"
            raise ApiError(408, f"The body did not arrive within {seconds}. Send it faster.", "body_too_slow") from None

    async def _collect(self, receive: Receive) -> bytes:
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._max_bytes:
                raise self._too_large()
        return bytes(body)

    def _too_large(self) -> ApiError:
        size = f"{self._limits.body_mib:g} MiB"
        return ApiError(413, f"The body exceeds {size}. Split it into several requests.", "body_too_large")

    async def _work(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        disconnect = asyncio.create_task(_disconnect(receive))
        work = asyncio.ensure_future(self.app(scope, _BufferedReceive(body, disconnect), self._with_timeout(send)))
        try:
            await asyncio.wait((work, disconnect), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            for task in (work, disconnect):
                task.cancel()
            await asyncio.gather(work, disconnect, return_exceptions=True)

    def _with_timeout(self, send: Send) -> Send:
        """Treat a client that does not receive the response in time as disconnected."""

        async def timed_send(message: Message) -> None:
            try:
                async with asyncio.timeout(self._limits.body_timeout_s):
                    await send(message)
            except TimeoutError:
                raise ClientDisconnect from None

        return timed_send


class _BufferedReceive:
    """ASGI ``receive`` that returns a body read before."""

    def __init__(self, body: bytes, disconnect: "asyncio.Task[Message]") -> None:
        self._body: bytes | None = body
        self._disconnect = disconnect

    async def __call__(self) -> Message:
        if self._body is None:
            return await asyncio.shield(self._disconnect)
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


async def _disconnect(receive: Receive) -> Message:
    while (message := await receive())["type"] != "http.disconnect":
        pass
    return message
