"""Multimodal language model at an OpenAI-compatible endpoint."""

import base64
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vapray.captioning.chat import (
    ChatCompletion,
    DecodingParams,
    MalformedResponseError,
    Messages,
    RequestRejectedError,
)
from vapray.captioning.endpoint_parameters import ServerParameters, setting_of
from vapray.config import Endpoint
from vapray.errors import BackendError

__all__ = ["OpenAiChat"]

UNKNOWN = "unknown"
MAX_REFUSALS = 20
"""Refused images, none answered before, after which the server is taken to refuse every image."""
SEEDS = 2**31
"""Number of seeds; some servers accept 32 bits."""


class OpenAiChat:
    """``ChatModel`` over the chat completions of any server with OpenAI's API.

    The client retries with pauses if the server is busy, limits the rate, or drops the connection. A request whose
    sampling parameters are refused is sent again without them; later requests are sent without them at once.
    """

    def __init__(self, model: str, settings: Endpoint, revision: str = UNKNOWN) -> None:
        """Create the client without connecting.

        Args:
            model: the server's name of the model.
            settings: settings of the endpoint.
            revision: revision of the model's weights.

        Raises:
            BackendError: the client library or the key is missing.
        """
        try:
            import openai
            from aiolimiter import AsyncLimiter
        except ImportError as error:
            raise BackendError(
                f"caption.captioner = openai: {error.name} is not installed. Fix: install vapray[openai] where the "
                "actors run, or for dermoscopy set caption.captioner=measured, which needs no model."
            ) from error
        key = os.environ.get(settings.api_key_env)
        if key is None and settings.api_key_env != "OPENAI_API_KEY":
            raise BackendError(
                f"endpoint.api_key_env = {settings.api_key_env}: no such environment variable. Fix: set it."
            )
        self._client = openai.AsyncOpenAI(
            base_url=settings.base_url,
            api_key=key or "none",
            timeout=settings.timeout_seconds,
            max_retries=settings.max_retries,
        )
        per_minute = settings.requests_per_minute
        self._limiter = AsyncLimiter(1, 60 / per_minute) if per_minute else None
        self._where = f"endpoint.base_url {settings.base_url}"
        self._parameters, self._refusals, self._sees_images = ServerParameters(), 0, False
        self.name, self.revision, self.concurrency = model, revision, settings.concurrency

    @classmethod
    async def connect(cls, model: str, settings: Endpoint, revision: str | None = None) -> "OpenAiChat":
        """Connect and, without a revision from the user, query the server for it.

        Raises:
            BackendError: the client library, the key or the server is missing.
        """
        chat = cls(model, settings, revision or UNKNOWN)
        if revision is None:
            chat.revision = await chat._revision_told()
        return chat

    async def complete(
        self, turns: Messages, image: NDArray[np.uint8] | None, decoding: DecodingParams
    ) -> ChatCompletion:
        """Continue a conversation; see :class:`vapray.captioning.chat.ChatModel`."""
        import openai

        try:
            with self._advice():
                done = await self._send(_messages(turns, image), _sampling(decoding))
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            raise self._refusal(error, image) from error
        except openai.NotFoundError as error:
            served = ", ".join(entry.id for entry in await self._served()) or "no list of its models"
            raise BackendError(
                f"{self._where}: {_said(error)} caption.model is {self.name!r}; the server has {served}."
            ) from error
        except openai.APIError as error:
            raise self._no_answer(error) from error
        except UnicodeDecodeError as error:
            raise MalformedResponseError("bytes that are not UTF-8") from error
        except ValueError as error:
            raise MalformedResponseError("no JSON") from error
        if not hasattr(done, "choices"):  # the client returns a web page unchanged
            raise BackendError(
                f"{self._where}: the response is not OpenAI's API. Fix: give the URL up to and with /v1."
            )
        if not done.choices:
            raise RequestRejectedError("the answer holds no choice")
        self._sees_images |= image is not None
        return _answer(done)

    async def _send(self, messages: Any, sampling: dict[str, Any]) -> Any:
        """Send a request, again after each refused parameter that it can do without."""
        import openai

        while True:
            if self._limiter:
                await self._limiter.acquire()
            sent = self._parameters.adapt(sampling)
            try:
                return await self._client.chat.completions.create(model=self.name, messages=messages, **sent)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if not self._parameters.learn(sent, error.response.text):
                    raise

    def _refusal(self, error: Any, image: NDArray[np.uint8] | None) -> Exception:
        """Reject one request, or give the server up that has refused ``MAX_REFUSALS`` images and answered to none."""
        said, setting = _said(error), setting_of(error.response.text)
        self._refusals += image is not None and not self._sees_images
        if self._refusals >= MAX_REFUSALS:
            fix = f"change {setting}" if setting else "set a caption.model that accepts images"
            return BackendError(f"{self._where}: refuses every image, the last one with: {said} Fix: {fix}.")
        return RequestRejectedError(f"{said} (setting {setting})" if setting else said)

    async def _revision_told(self) -> str:
        """Return the folder or hub id that the server reports as the root, otherwise the date of the model."""
        for entry in await self._served():
            if entry.id == self.name:
                root, created = getattr(entry, "root", None), getattr(entry, "created", None)
                # vLLM's date is that of the response, so a date counts only without a root.
                return str(root) if root else f"created {created}" if created else UNKNOWN
        return UNKNOWN

    async def _served(self) -> list[Any]:
        """List the server's models; empty if it has no list."""
        import openai

        try:
            with self._advice():
                listed = await self._client.models.list()
        except (openai.APIStatusError, AttributeError):  # the client fails on a web page
            return []
        entries = listed.data if isinstance(listed.data, list) else []
        return [entry for entry in entries if hasattr(entry, "id")]

    @contextmanager
    def _advice(self) -> Iterator[None]:
        """Convert errors that every request to this server would meet, with a fix."""
        import openai

        try:
            yield
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise BackendError(
                f"{self._where}: the key is refused. Fix: set endpoint.api_key_env to the right one."
            ) from error
        except openai.RateLimitError as error:
            raise BackendError(
                f"{self._where}: still limits the rate after {self._client.max_retries} retries. Fix: lower "
                "endpoint.concurrency, set endpoint.requests_per_minute, or raise endpoint.max_retries."
            ) from error
        except openai.APIConnectionError as error:
            raise self._no_answer(error) from error

    def _no_answer(self, error: Any) -> BackendError:
        status = getattr(error, "status_code", 500)
        if status < 500:
            fix = "lower caption.image_size" if status == 413 else "check endpoint.base_url and the account of the key"
            return BackendError(f"{self._where}: refuses requests ({_said(error)}). Fix: {fix}.")
        return BackendError(
            f"{self._where}: no answer after {self._client.max_retries} retries ({_said(error)}). "
            "Fix: check that the server runs and that the actors can reach it."
        )


def _messages(turns: Messages, image: NDArray[np.uint8] | None) -> Any:
    shown = [] if image is None else [{"type": "image_url", "image_url": {"url": _data_url(image)}}]
    first = {"role": "user", "content": [*shown, {"type": "text", "text": turns[0]}]}
    roles = ("assistant", "user")
    return [first, *({"role": roles[number % 2], "content": text} for number, text in enumerate(turns[1:]))]


def _data_url(image: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _sampling(decoding: DecodingParams) -> dict[str, Any]:
    given: dict[str, Any] = {
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "max_tokens": decoding.max_tokens,
        "seed": decoding.seed % SEEDS,
    }
    if decoding.schema:
        described = {"name": "caption", "schema": dict(decoding.schema), "strict": True}
        given["response_format"] = {"type": "json_schema", "json_schema": described}
    return given


def _answer(done: Any) -> ChatCompletion:
    """Validate a response, because the client does not, and convert it."""
    said, usage = done.choices[0], getattr(done, "usage", None)
    message = getattr(said, "message", None)
    text = getattr(message, "content", None)
    if message is None or not isinstance(text, str | None):
        raise MalformedResponseError("no text in choices[0].message.content")
    return ChatCompletion(
        text or "",
        _count(usage, "prompt_tokens"),
        _count(getattr(usage, "prompt_tokens_details", None), "cached_tokens"),
        _count(usage, "completion_tokens"),
        str(getattr(said, "finish_reason", None)),
    )


def _count(usage: Any, name: str) -> int:
    found = getattr(usage, name, None)
    return found if isinstance(found, int) else 0


def _said(error: Any) -> str:
    """First words of an error; of the response where the client finds no message in it."""
    text = str(getattr(error, "message", error))
    if hasattr(error, "response") and text == f"Error code: {error.status_code}":
        text += f" - {' '.join(error.response.text.split())}"
    return text.partition("\n")[0][:200]
