"""Pictures on their way as server-sent events, as OpenAI has them."""

import asyncio
import contextlib
import json
import time
from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from fastapi import Response
from starlette.types import Receive, Scope, Send

from serve.api.image_responses import to_image_data, token_usage
from serve.backend import ImageJob, ImageResult, PartialImage
from serve.errors import ApiError

__all__ = ["EVENTS", "EventStream"]

EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The images; with stream = true, events image_generation.partial_image and "
        "image_generation.completed, or error.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}
"""For the OpenAPI document."""

Stream = AsyncGenerator[PartialImage | ImageResult, None]
Coming = tuple[int, PartialImage | ImageResult | Exception | None]
"""Which of the images; None: its stream has ended."""


class EventStream(Response):
    """Several streams in one, as their events come.

    The answer begins with the first event: what is refused before that is refused with its own status.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        streams: Sequence[Stream],
        jobs: Sequence[ImageJob],
        size: str,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(headers=headers)
        del self.headers["content-length"]
        self._streams, self._jobs, self._size = streams, jobs, size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it all, in one task, so that whoever cancels it cancels the streams."""
        coming: asyncio.Queue[Coming] = asyncio.Queue(maxsize=len(self._streams))
        pumps = [asyncio.create_task(_pump(index, stream, coming)) for index, stream in enumerate(self._streams)]
        try:
            await self._send_all(coming, send)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _send_all(self, coming: "asyncio.Queue[Coming]", send: Send) -> None:
        left, started = len(self._streams), False
        while left:
            index, event = await coming.get()
            if event is None:
                left -= 1
                continue
            if not started:
                if isinstance(event, Exception):
                    raise event
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                started = True
            if isinstance(event, Exception):
                await _fail(event, send)
                return
            await send(_message(self._event(index, event)))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _event(self, index: int, event: PartialImage | ImageResult) -> dict[str, Any]:
        shared = {
            "created_at": int(time.time()),
            "size": self._size,
            "quality": "auto",
            "background": "opaque",
            "output_format": "png",
            "image_index": index,
        }
        if isinstance(event, ImageResult):
            facts = to_image_data(event).model_dump(by_alias=True)
            usage = token_usage([event]).model_dump()
            return {"type": "image_generation.completed", **facts, **shared, "usage": usage}
        return {
            "type": "image_generation.partial_image",
            "b64_json": b64encode(event.png).decode(),
            "partial_image_index": event.index,
            **shared,
            "seed": self._jobs[index].seed,
            "step": event.taken,
            "steps": event.steps,
        }


async def _pump(index: int, stream: Stream, coming: "asyncio.Queue[Coming]") -> None:
    try:
        async with contextlib.aclosing(stream):
            async for event in stream:
                await coming.put((index, event))
        await coming.put((index, None))
    except Exception as error:
        await coming.put((index, error))


async def _fail(error: Exception, send: Send) -> None:
    """The last event; what nobody foresaw is raised again for the log."""
    told = error if isinstance(error, ApiError) else ApiError(500, "The service failed.", "internal_error")
    await send(_message({"type": "error", **told.body()}))
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    if told is not error:
        raise error


def _message(event: dict[str, Any]) -> dict[str, Any]:
    text = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
    return {"type": "http.response.body", "body": text.encode(), "more_body": True}
