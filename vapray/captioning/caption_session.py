"""Requests to a language model for one image, with retries and their total cost."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vapray.captioning.captioner import CaptionDraft, Strategy, digest
from vapray.captioning.chat import (
    ChatCompletion,
    ChatModel,
    DecodingParams,
    MalformedResponseError,
    Messages,
    RequestRejectedError,
)
from vapray.captioning.reply import Reply, UnusableAnswerError, read_reply

__all__ = ["RETRY_TEMPERATURE", "CaptionSession", "PromptingOptions", "json_schema"]

RETRY_TEMPERATURE = 0.7
"""Lowest temperature of a retry: the likeliest answer would be the same again."""


@dataclass(frozen=True)
class PromptingOptions:
    """Prompting options of a run.

    Attributes:
        strategy: steps of the strategy.
        omit: attributes that captions must not mention.
        knowledge_variants: number of knowledge texts; each image draws one.
        temperature: sampling temperature.
        top_p: share of the probability that tokens are sampled from.
        max_tokens: maximum length of an answer about an image.
        knowledge_max_tokens: maximum length of an answer to the knowledge question.
        json: step 3 is decoded as JSON with one text for each attribute.
        retries: number of retries of an unusable answer.
        seed: seed of all draws.
    """

    strategy: Strategy = "vaps"
    omit: tuple[str, ...] = ()
    knowledge_variants: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 512
    knowledge_max_tokens: int = 1024
    json: bool = False
    retries: int = 2
    seed: int = 0

    def to_record(self) -> dict[str, Any]:
        """Convert to plain values, for a caption's row."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}


class CaptionSession:
    """Requests for one image and their total cost."""

    def __init__(
        self, model: ChatModel, prompting: PromptingOptions, name: str, image: NDArray[np.uint8] | None
    ) -> None:
        self._model, self._prompting, self._name, self._image = model, prompting, name, image
        self._answers: list[ChatCompletion] = []

    async def request(
        self,
        step: str,
        turns: Messages,
        reject_reason: Callable[[str], str | None],
        schema: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Request a usable answer, with up to ``retries`` retries.

        Args:
            step: step of the strategy; a part of the draws' seed.
            turns: the conversation so far.
            reject_reason: returns the reason why a text is unusable, or None.
            schema: JSON schema of the answer.

        Raises:
            UnusableAnswerError: no answer is usable; the message has the reason of the last one.
        """
        reason = ""
        for attempt in range(1 + self._prompting.retries):
            try:
                answer = await self._model.complete(turns, self._image, self._decoding(step, attempt, schema))
                self._answers.append(answer)
                return read_reply(answer, reject_reason, is_json=schema is not None)
            except RequestRejectedError as error:  # the same request would be refused again
                raise UnusableAnswerError(f"refused: {error} ({step})") from None
            except MalformedResponseError as error:
                reason = f"unreadable: {error}"
            except UnusableAnswerError as error:
                reason = str(error)
        raise UnusableAnswerError(f"{reason} ({step}, {1 + self._prompting.retries} attempts)")

    def draft(self, impression: str, knowledge_id: str, caption: str) -> CaptionDraft:
        """Build the caption with the cost of all answers."""
        return CaptionDraft(
            impression,
            knowledge_id,
            caption,
            sum(answer.prompt_tokens for answer in self._answers),
            sum(answer.cached_tokens for answer in self._answers),
            sum(answer.completion_tokens for answer in self._answers),
            self._answers[-1].finish_reason,
            len(self._answers),
        )

    def _decoding(self, step: str, attempt: int, schema: Mapping[str, Any] | None) -> DecodingParams:
        asked = self._prompting
        temperature = max(asked.temperature, RETRY_TEMPERATURE) if attempt else asked.temperature
        seed = int(digest([asked.seed, self._name, step, attempt])[:15], 16)
        return DecodingParams(seed, temperature, asked.top_p, asked.max_tokens, schema)


def json_schema(attributes: Sequence[str]) -> dict[str, Any]:
    """Build the schema of an answer with one short text for each attribute."""
    text = {"type": "string", "minLength": 3, "maxLength": 120, "pattern": "^[A-Za-z][A-Za-z0-9 ,.%/-]{2,119}$"}
    return {
        "type": "object",
        "properties": dict.fromkeys(attributes, text),
        "required": list(attributes),
        "additionalProperties": False,
    }
