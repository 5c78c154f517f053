"""Errors as HTTP."""

import math
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from serve.api.responses import ErrorResponse
from serve.errors import ApiError

__all__ = ["ERROR_RESPONSES", "error_response", "handle_api_error", "handle_http_error"]

_MEANINGS = {
    "400": "The request is not one that is accepted: all that is wrong with it.",
    "401": "No API key, or a wrong one.",
    "403": "The key lacks a scope; or the service has no keys and the client is on another machine.",
    "404": "There is no such thing, or the service does not offer it.",
    "408": "The body took too long to arrive.",
    "409": "The idempotency key stands for another request.",
    "413": "The body is too large.",
    "415": "Not application/json.",
    "429": "More than the key allows, or than the service can hold; Retry-After says when to come again.",
    "4XX": "Any other refusal.",
    "5XX": "The service failed, is not up yet, or did not finish in time.",
}
ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    code: {"model": ErrorResponse, "description": meaning} for code, meaning in _MEANINGS.items()
}
"""For the OpenAPI document."""


def error_response(error: ApiError) -> JSONResponse:
    """In OpenAI's shape."""
    headers = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    if error.status in (408, 413):  # what is left of the body is not read
        headers["connection"] = "close"
    return JSONResponse(error.body(), error.status, headers)


async def handle_api_error(request: Request, error: Exception) -> JSONResponse:
    """FastAPI's handler of ``ApiError``."""
    assert isinstance(error, ApiError)
    request.state.audit.error = error.code
    return error_response(error)


async def handle_http_error(request: Request, error: Exception) -> JSONResponse:
    """Unknown paths and methods."""
    assert isinstance(error, HTTPException)
    allowed = (error.headers or {}).get("Allow", "")
    texts = {
        404: ("There is nothing at this path. GET /v1/models lists what can be asked.", "not_found"),
        405: (f"{request.method} is not accepted here. Accepted: {allowed}.", "method_not_allowed"),
    }
    message, code = texts.get(error.status_code, (str(error.detail), "refused"))
    answer = await handle_api_error(request, ApiError(error.status_code, message, code))
    answer.headers.update(error.headers or {})
    return answer
