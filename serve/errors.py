"""What a client is told when a request is not served, in OpenAI's shape."""

from typing import Any

__all__ = ["ApiError", "deadline_exceeded", "no_captions", "overloaded", "unavailable"]


class ApiError(Exception):
    """A request that is refused or that failed for a reason the client should know.

    Attributes:
        status: of HTTP, 400..599.
        message: what was found, what is accepted, what to do next; never quotes a prompt.
        code: for programs, such as ``unknown_model``.
        param: field of the body or query that is at fault.
        retry_after_s: when to come again.
    """

    def __init__(
        self, status: int, message: str, code: str, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(status, message, code, param, retry_after_s)  # all of it, so that it survives pickling
        self.status, self.message, self.code, self.param = status, message, code, param
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return self.message

    @property
    def type(self) -> str:
        """OpenAI's kind of error."""
        if self.status == 429:
            return "rate_limit_error"
        return "server_error" if self.status >= 500 else "invalid_request_error"

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


def overloaded(retry_after_s: float) -> ApiError:
    """More is asked for than may wait."""
    return ApiError(
        429, "The service has as much waiting as it may hold. Try again later.", "overloaded", None, retry_after_s
    )


def unavailable(what: str, retry_after_s: float) -> ApiError:
    """A replica that is needed is not up yet, or keeps dying."""
    return ApiError(503, f"{what} Try again later.", "unavailable", None, retry_after_s)


def no_captions() -> ApiError:
    """A class that nothing can be drawn for."""
    return ApiError(404, "The prompt bank has no caption of this class. Give one as prompt.", "no_captions", "label")


def deadline_exceeded() -> ApiError:
    """The request's own deadline."""
    return ApiError(
        504,
        "Not finished within its deadline_seconds. Allow more, or ask for fewer steps or images.",
        "deadline_exceeded",
        "deadline_seconds",
    )
