"""Multimodal language models behind one protocol: a conversation goes in, the next turn comes out."""

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Answer", "ChatModel", "Decoding", "EventLoop", "RefusedRequest", "Turns", "UnreadableAnswer"]

Result = TypeVar("Result")
Turns = tuple[str, ...]
"""What was said in turn: by the user first, by the model second, and so on; the user speaks last."""


@dataclass(frozen=True)
class Decoding:
    """How one answer is drawn.

    Attributes:
        seed: of the draws; without effect at temperature 0.
        temperature: 0 takes the likeliest token.
        top_p: share of the probability that tokens are drawn from.
        max_tokens: an answer ends there at the latest.
        schema: a JSON schema that the answer has to fit, or None.
    """

    seed: int
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 256
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Answer:
    """What a model said.

    Attributes:
        text: as decoded.
        prompt_tokens: of the whole conversation, image included.
        cached_tokens: of these, how many were not computed again.
        completion_tokens: of the answer.
        finish_reason: ``stop``, or ``length`` for an answer that was cut off.
    """

    text: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    finish_reason: str


class RefusedRequest(Exception):
    """The model's server refuses this one request; others may go through."""


class UnreadableAnswer(Exception):
    """What came back is no answer; the same request may get one."""


class ChatModel(Protocol):
    """A model that can be asked many things at once.

    Attributes:
        name: of the model.
        revision: of its weights, as far as that can be known.
        concurrency: how many conversations it takes at a time.
    """

    name: str
    revision: str
    concurrency: int

    async def answer(self, turns: Turns, image: NDArray[np.uint8] | None, decoding: Decoding) -> Answer:
        """Continue a conversation.

        Args:
            turns: the conversation so far.
            image: uint8 [S, S, 3], shown before the first turn; None for a conversation without one.
            decoding: how the answer is drawn.

        Raises:
            RefusedRequest: this request cannot be answered.
            UnreadableAnswer: it was answered with what is no text.
            BackendError: none can.
        """
        ...


class EventLoop:
    """An asyncio loop in a thread of its own, for callers that wait, from as many threads as they like."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait for a coroutine; its error is raised here."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
