"""Errors as HTTP responses in OpenAI's format."""

import math
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from serve.api.responses import ErrorResponse
from serve.errors import ApiError

__all__ = ["ERROR_RESPONSES", "error_response", "handle_api_error", "handle_http_error"]

_DESCRIPTIONS = {
    "400": "Invalid request; the message lists all problems.",
    "401": "Missing or unknown API key.",
    "403": "The key lacks a scope, or the service has no keys and the client is remote, or a form is of another page.",
    "404": "Not found, or not enabled.",
    "408": "The body, or the next part of a form, did not arrive in time.",
    "409": "The idempotency key belongs to another request.",
    "413": "The body is too large.",
    "415": "Content-Type is not the one of this route.",
    "429": "Rate limit of the key exceeded, or queue full; see Retry-After.",
    "4XX": "Other client error.",
    "5XX": "Internal error, service not ready, or deadline exceeded.",
}
ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    code: {"model": ErrorResponse, "description": text} for code, text in _DESCRIPTIONS.items()
}
"""Error responses in the OpenAPI document."""


def error_response(error: ApiError) -> JSONResponse:
    """Build the response of an error."""
    headers = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    if error.status in (408, 413):  # the rest of the body is not read
        headers["connection"] = "close"
    return JSONResponse(error.body(), error.status, headers)


async def handle_api_error(request: Request, error: Exception) -> JSONResponse:
    """Handle ``ApiError`` in FastAPI."""
    assert isinstance(error, ApiError)
    request.state.audit.error = error.code
    return error_response(error)


async def handle_http_error(request: Request, error: Exception) -> JSONResponse:
    """Handle unknown paths and methods."""
    assert isinstance(error, HTTPException)
    allowed = (error.headers or {}).get("Allow", "")
    texts = {
        404: ("Unknown path. GET /v1/models lists the models.", "not_found"),
        405: (f"{request.method} is not allowed; allowed: {allowed}.", "method_not_allowed"),
    }
    message, code = texts.get(error.status_code, (str(error.detail), "refused"))
    response = await handle_api_error(request, ApiError(error.status_code, message, code))
    response.headers.update(error.headers or {})
    return response
