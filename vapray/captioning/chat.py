"""Protocol of multimodal language models: a conversation to its next turn."""

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ChatCompletion",
    "ChatModel",
    "DecodingParams",
    "EventLoop",
    "MalformedResponseError",
    "Messages",
    "RequestRejectedError",
]

Result = TypeVar("Result")
Messages = tuple[str, ...]
"""Messages of user and model in turn; the user has the first and the last."""


@dataclass(frozen=True)
class DecodingParams:
    """Decoding parameters of one answer.

    Attributes:
        seed: sampling seed; without effect at temperature 0.
        temperature: sampling temperature; 0 takes the likeliest token.
        top_p: share of the probability that tokens are sampled from.
        max_tokens: maximum length of the answer.
        schema: JSON schema of the answer, or None.
    """

    seed: int
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 512
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class ChatCompletion:
    """Answer of a model.

    Attributes:
        text: decoded text.
        prompt_tokens: tokens of the complete conversation, image included.
        cached_tokens: prompt tokens that came from a prefix cache.
        completion_tokens: tokens of the answer.
        finish_reason: ``stop``, or ``length`` for an answer that was cut off.
    """

    text: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    finish_reason: str


class RequestRejectedError(Exception):
    """The server refuses this request; others may succeed."""


class MalformedResponseError(Exception):
    """The response is malformed; a retry may succeed."""


class ChatModel(Protocol):
    """Model that takes many conversations at a time.

    Attributes:
        name: name of the model.
        revision: revision of its weights, if known.
        concurrency: maximum number of conversations at a time.
    """

    name: str
    revision: str
    concurrency: int

    async def complete(
        self, turns: Messages, image: NDArray[np.uint8] | None, decoding: DecodingParams
    ) -> ChatCompletion:
        """Continue a conversation.

        Args:
            turns: the conversation so far.
            image: uint8 [S, S, 3], shown before the first turn; None for a conversation without one.
            decoding: decoding parameters.

        Raises:
            RequestRejectedError: the server refuses this request.
            MalformedResponseError: the response is malformed.
            BackendError: the model is not available.
        """
        ...


class EventLoop:
    """Asyncio loop in a thread of its own, for blocking callers in any number of threads."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait for a coroutine and return its result or raise its error."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
