"""A request's body, within its limits of size and time; and what a client that leaves puts an end to."""

import asyncio
import contextlib

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.errors import ApiError
from serve.settings import RequestLimits

__all__ = ["RequestBodyMiddleware"]

MIB = 2**20


class ClientDisconnect(Exception):
    """Nobody is there to answer."""


class RequestBodyMiddleware:
    """ASGI middleware: reads the whole body first, then cancels the work on it when the client leaves."""

    def __init__(self, app: ASGIApp, limits: RequestLimits) -> None:
        self.app, self._limits = app, limits

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
        if length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > self._most):
            raise self._too_large()
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                return await self._collect(receive)
        except TimeoutError:
            raise ApiError(
                408,
                f"The body did not arrive within {self._limits.body_timeout_s:g} s. Send it faster.",
                "body_too_slow",
            ) from None

    async def _collect(self, receive: Receive) -> bytes:
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._most:
                raise self._too_large()
        return bytes(body)

    @property
    def _most(self) -> int:
        return round(self._limits.body_mib * MIB)

    def _too_large(self) -> ApiError:
        return ApiError(
            413, f"The body is above {self._limits.body_mib:g} MiB. Send less, in several requests.", "body_too_large"
        )

    async def _work(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(_disconnect(receive))
        work = asyncio.ensure_future(self.app(scope, _BufferedReceive(body, gone), self._in_time(send)))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    def _in_time(self, send: Send) -> Send:
        """A client that does not take what it asked for has left, too."""

        async def timely(message: Message) -> None:
            try:
                async with asyncio.timeout(self._limits.body_timeout_s):
                    await send(message)
            except TimeoutError:
                raise ClientDisconnect from None

        return timely


class _BufferedReceive:
    """``receive`` for those within."""

    def __init__(self, body: bytes, gone: "asyncio.Task[Message]") -> None:
        self._body: bytes | None = body
        self._gone = gone

    async def __call__(self) -> Message:
        if self._body is None:
            return await asyncio.shield(self._gone)
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


async def _disconnect(receive: Receive) -> Message:
    while (message := await receive())["type"] != "http.disconnect":
        pass
    return message
