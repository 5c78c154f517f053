"""API errors in OpenAI's format."""

from collections.abc import Iterable
from typing import Any

__all__ = ["ApiError", "deadline_exceeded", "no_captions", "not_enabled", "overloaded", "unavailable", "unknown_model"]


class ApiError(Exception):
    """A request that is refused, or that failed for a reason the client should know.

    Attributes:
        status: HTTP status, 400 to 599.
        message: Value received, values accepted, and the next step; never quotes a prompt.
        code: Machine-readable code, such as ``unknown_model``.
        param: Field of the body or query that caused the error.
        retry_after_s: Seconds after which a retry can succeed.
    """

    def __init__(
        self, status: int, message: str, code: str, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(status, message, code, param, retry_after_s)  # all arguments, so that it can be unpickled
        self.status, self.message, self.code, self.param = status, message, code, param
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return self.message

    @property
    def type(self) -> str:
        """OpenAI's type of error."""
        if self.status == 429:
            return "rate_limit_error"
        return "server_error" if self.status >= 500 else "invalid_request_error"

    def body(self) -> dict[str, Any]:
        """Build the JSON body."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


def overloaded(retry_after_s: float) -> ApiError:
    """Build the error of a full queue."""
    return ApiError(429, "The request queue is full. Try again later.", "overloaded", None, retry_after_s)


def unavailable(reason: str, retry_after_s: float) -> ApiError:
    """Build the error of a replica that is not running yet or keeps failing."""
    return ApiError(503, f"{reason} Try again later.", "unavailable", None, retry_after_s)


def unknown_model(known: Iterable[str]) -> ApiError:
    """Build the error of an unknown model."""
    return ApiError(404, f"Unknown model. Known models: {', '.join(known)}.", "unknown_model", "model")


def no_captions() -> ApiError:
    """Build the error of a class without captions in the prompt bank."""
    return ApiError(404, "The prompt bank has no caption of this class. Send a prompt.", "no_captions", "label")


def not_enabled(setting: str) -> ApiError:
    """Build the error of a feature that the settings disable."""
    return ApiError(404, f"Not enabled: the setting {setting} of this service is off.", "not_enabled")


def deadline_exceeded() -> ApiError:
    """Build the error of a request that missed its deadline."""
    return ApiError(
        504,
        "Not finished within deadline_seconds. Increase it, or request fewer steps or images.",
        "deadline_exceeded",
        "deadline_seconds",
    )
