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
MESSAGES = 4
"""Parts of a form in memory."""


class RequestBodyMiddleware:
    """ASGI middleware that limits the body, and cancels the work if the client disconnects.

    The complete body is read first, except for a form, which the application receives in parts.
    """

    def __init__(self, app: ASGIApp, limits: RequestLimits) -> None:
        self.app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; raises ApiError 408 and 413."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_form = headers.get("content-type", "").lower().startswith("multipart/")
        body = _Body(receive, self._limits.upload_mib if is_form else self._limits.body_mib)
        body.require_length(headers.get("content-length", "0"))
        with contextlib.suppress(ClientDisconnect):
            if is_form:
                await self._work(scope, _StreamedBody(body, self._limits.body_timeout_s), send)
            else:
                await self._work(scope, _BufferedBody(await self._read(body), receive), send)

    async def _read(self, body: "_Body") -> bytes:
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                return b"".join([part async for part in body])
        except TimeoutError:
            raise _too_slow(self._limits.body_timeout_s) from None

    async def _work(self, scope: Scope, body: "_BufferedBody | _StreamedBody", send: Send) -> None:
        work = asyncio.ensure_future(self.app(scope, body, send))
        try:
            await asyncio.wait((work, body.disconnect), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            else:
                body.disconnect.result()
        finally:
            for task in (work, body.disconnect):
                task.cancel()
            await asyncio.gather(work, body.disconnect, return_exceptions=True)


class _Body:
    """Parts of a body as they arrive.

    Iteration raises ClientDisconnect, and ApiError 413.
    """

    def __init__(self, receive: Receive, mib: float) -> None:
        self.receive, self._mib, self._left, self._more = receive, mib, round(mib * MIB), True

    def require_length(self, declared: str) -> None:
        """Refuse a body by its declared length."""
        if declared.isascii() and declared.isdigit() and (len(declared) > 18 or int(declared) > self._left):
            raise self._too_large()

    def __aiter__(self) -> "_Body":
        return self

    async def __anext__(self) -> bytes:
        if not self._more:
            raise StopAsyncIteration
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part: bytes = message.get("body", b"")
        self._more = message.get("more_body", False)
        self._left -= len(part)
        if self._left < 0:
            raise self._too_large()
        return part

    def _too_large(self) -> ApiError:
        message = f"The body exceeds {self._mib:g} MiB. Split it into several requests."
        return ApiError(413, message, "body_too_large")


class _BufferedBody:
    """ASGI ``receive`` that returns a body read before."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self.disconnect = asyncio.create_task(_disconnect(receive))

    async def __call__(self) -> Message:
        if self._body is None:
            await asyncio.shield(self.disconnect)
            return {"type": "http.disconnect"}
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


class _StreamedBody:
    """ASGI ``receive`` that returns the parts of a body as they arrive."""

    def __init__(self, body: _Body, timeout_s: float) -> None:
        self._parts: asyncio.Queue[bytes | None] = asyncio.Queue(MESSAGES)
        self._ended = False
        self.disconnect = asyncio.create_task(self._relay(body, timeout_s))

    async def __call__(self) -> Message:
        if self._ended:
            await asyncio.shield(self.disconnect)
            return {"type": "http.disconnect"}
        part = await self._parts.get()
        self._ended = part is None
        return {"type": "http.request", "body": part or b"", "more_body": not self._ended}

    async def _relay(self, body: _Body, timeout_s: float) -> None:
        while True:
            try:
                async with asyncio.timeout(timeout_s):
                    part = await anext(body, None)
            except TimeoutError:
                raise _too_slow(timeout_s) from None
            await self._parts.put(part)
            if part is None:
                break
        await _disconnect(body.receive)


def _too_slow(seconds: float) -> ApiError:
    return ApiError(408, f"The body did not arrive within {seconds:g} s. Send it faster.", "body_too_slow")


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
