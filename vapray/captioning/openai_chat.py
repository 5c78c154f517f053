"""A multimodal language model behind an OpenAI-compatible endpoint."""

import base64
import io
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vapray.captioning.chat import Answer, Decoding, RefusedRequest, Turns
from vapray.config import Endpoint
from vapray.errors import BackendError

__all__ = ["OpenAiChat"]


class OpenAiChat:
    """A ``ChatModel`` over the chat completions of any server that speaks OpenAI's API.

    The client waits and asks again where the server is busy, limits the rate, or drops the connection.
    """

    revision = "unknown"

    def __init__(self, model: str, settings: Endpoint) -> None:
        """Connect to nothing yet.

        Args:
            model: as the server calls it.
            settings: of the endpoint.

        Raises:
            BackendError: the client library or the key is missing.
        """
        try:
            import openai
            from aiolimiter import AsyncLimiter
        except ImportError as error:
            raise BackendError(
                f"caption.captioner = openai: {error.name} is not installed. Install vapray[openai]."
            ) from error
        key = os.environ.get(settings.api_key_env)
        if key is None and settings.api_key_env != "OPENAI_API_KEY":
            raise BackendError(f"endpoint.api_key_env = {settings.api_key_env}: no such environment variable. Set it.")
        self._client = openai.AsyncOpenAI(
            base_url=settings.base_url,
            api_key=key or "none",
            timeout=settings.timeout_seconds,
            max_retries=settings.max_retries,
        )
        per_minute = settings.requests_per_minute
        self._limiter = AsyncLimiter(1, 60 / per_minute) if per_minute else None
        self._where = f"endpoint.base_url {settings.base_url}"
        self.name, self.concurrency = model, settings.concurrency

    async def answer(self, turns: Turns, image: NDArray[np.uint8] | None, decoding: Decoding) -> Answer:
        """Continue a conversation; see :class:`vapray.captioning.chat.ChatModel`."""
        import openai

        if self._limiter:
            await self._limiter.acquire()
        try:
            done = await self._client.chat.completions.create(
                model=self.name, messages=_messages(turns, image), **_sampling(decoding)
            )
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            raise RefusedRequest(_said(error)) from error
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise BackendError(
                f"{self._where}: the key is refused. Set endpoint.api_key_env to the right one."
            ) from error
        except openai.NotFoundError as error:
            raise BackendError(
                f"{self._where}: {_said(error)} caption.model is {self.name!r}; the server has {await self._served()}."
            ) from error
        except openai.RateLimitError as error:
            raise BackendError(
                f"{self._where}: still limits the rate after {self._client.max_retries} retries. Lower "
                "endpoint.concurrency, set endpoint.requests_per_minute, or raise endpoint.max_retries."
            ) from error
        except openai.APIError as error:
            raise BackendError(
                f"{self._where}: no answer after {self._client.max_retries} retries ({_said(error)}). "
                "See that the server runs and can be reached from where the actors are."
            ) from error
        if not hasattr(done, "choices"):  # the client hands over a web page as it is
            raise BackendError(
                f"{self._where}: answers, but not as OpenAI's API does. Give the URL up to and with /v1."
            )
        if not done.choices:
            raise RefusedRequest("the answer holds no choice")
        return _answer(done)

    async def _served(self) -> str:
        import openai

        try:
            return ", ".join([model.id async for model in self._client.models.list()]) or "none"
        except openai.OpenAIError:
            return "no list of its models"


def _messages(turns: Turns, image: NDArray[np.uint8] | None) -> Any:
    shown = [] if image is None else [{"type": "image_url", "image_url": {"url": _data_url(image)}}]
    first = {"role": "user", "content": [*shown, {"type": "text", "text": turns[0]}]}
    roles = ("assistant", "user")
    return [first, *({"role": roles[number % 2], "content": text} for number, text in enumerate(turns[1:]))]


def _data_url(image: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _sampling(decoding: Decoding) -> dict[str, Any]:
    given: dict[str, Any] = {
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "max_tokens": decoding.max_tokens,
        "seed": decoding.seed,
    }
    if decoding.schema:
        described = {"name": "caption", "schema": dict(decoding.schema), "strict": True}
        given["response_format"] = {"type": "json_schema", "json_schema": described}
    return given


def _answer(done: Any) -> Answer:
    said, usage = done.choices[0], done.usage
    details = getattr(usage, "prompt_tokens_details", None)
    return Answer(
        said.message.content or "",
        usage.prompt_tokens if usage else 0,
        (details.cached_tokens or 0) if details else 0,
        usage.completion_tokens if usage else 0,
        said.finish_reason,
    )


def _said(error: Exception) -> str:
    return str(getattr(error, "message", error)).partition("\n")[0][:200]
