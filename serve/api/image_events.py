"""Streams of images as server-sent events in OpenAI's format."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from fastapi import Response
from starlette.types import Receive, Scope, Send

from serve.api.image_responses import ImageEncoder, token_usage
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
"""Response in the OpenAPI document."""

Stream = AsyncGenerator[PartialImage | ImageResult, None]
Item = tuple[int, PartialImage | ImageResult | Exception | None]
"""Index of the image and its event; None ends its stream."""


class EventStream(Response):
    """Response that merges several image streams.

    The response starts with the first event: an error before it has its own HTTP status.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        streams: Sequence[Stream],
        jobs: Sequence[ImageJob],
        size: str,
        headers: Mapping[str, str],
        encoder: ImageEncoder,
    ) -> None:
        super().__init__(headers=headers)
        del self.headers["content-length"]
        self._streams, self._jobs, self._size, self._encoder = streams, jobs, size, encoder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all events; cancelling the call cancels the streams."""
        queue: asyncio.Queue[Item] = asyncio.Queue(maxsize=len(self._streams))
        pumps = [asyncio.create_task(_pump(index, stream, queue)) for index, stream in enumerate(self._streams)]
        try:
            await self._send_all(queue, send)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _send_all(self, queue: "asyncio.Queue[Item]", send: Send) -> None:
        left, started = len(self._streams), False
        while left:
            index, event = await queue.get()
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
            await send(_message(await self._event(index, event)))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _event(self, index: int, event: PartialImage | ImageResult) -> dict[str, Any]:
        shared = {
            "created_at": int(time.time()),
            "size": self._size,
            "quality": "auto",
            "background": "opaque",
            "output_format": self._encoder.format,
            "image_index": index,
        }
        if isinstance(event, ImageResult):
            data = (await self._encoder.encode(event)).model_dump(by_alias=True)
            usage = token_usage([event]).model_dump()
            return {"type": "image_generation.completed", **data, **shared, "usage": usage}
        return {
            "type": "image_generation.partial_image",
            "b64_json": await self._encoder.encode_base64(event.png),
            "partial_image_index": event.index,
            **shared,
            "seed": self._jobs[index].seed,
            "step": event.taken,
            "steps": event.steps,
        }


async def _pump(index: int, stream: Stream, queue: "asyncio.Queue[Item]") -> None:
    try:
        async with contextlib.aclosing(stream):
            async for event in stream:
                await queue.put((index, event))
        await queue.put((index, None))
    except Exception as error:
        await queue.put((index, error))


async def _fail(error: Exception, send: Send) -> None:
    """Send the error as the last event; raise an unexpected one again for the log."""
    reported = error if isinstance(error, ApiError) else ApiError(500, "Internal error.", "internal_error")
    await send(_message({"type": "error", **reported.body()}))
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    if reported is not error:
        raise error


def _message(event: dict[str, Any]) -> dict[str, Any]:
    text = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
    return {"type": "http.response.body", "body": text.encode(), "more_body": True}
