"""Middleware for request ids, security headers, audit records and unexpected errors."""

import logging
import re
import time
import traceback
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.api.audit_log import CLIENT_CLOSED_REQUEST, AuditRecord
from serve.api.error_responses import error_response
from serve.errors import ApiError

__all__ = ["RequestContextMiddleware"]

LOG = logging.getLogger("vapray.api")
PAGE_SOURCES = "script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'"
RESTRICTIONS = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
SECURITY_HEADERS = {
    "content-security-policy": f"default-src 'none'; {PAGE_SOURCES}; {RESTRICTIONS}",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class RequestContextMiddleware:
    """Outermost ASGI middleware."""

    def __init__(self, app: ASGIApp, add_request_id: bool) -> None:
        self.app, self._add_request_id = app, add_request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        audit = AuditRecord(request=_request_id(Headers(scope=scope)), method=scope["method"])
        scope.setdefault("state", {})["audit"] = audit
        response = _ResponseRecorder(send, audit, scope["path"], self._add_request_id)
        try:
            await self.app(scope, receive, response.send)
        except ApiError as error:
            await response.fail(error, scope, receive)
        except Exception as error:
            _log(error, audit.request)
            failure = ApiError(500, f"Internal error. See the service log under {audit.request}.", "internal_error")
            await response.fail(failure, scope, receive)
        finally:
            if not response.finished:
                audit.status = CLIENT_CLOSED_REQUEST
            audit.route = getattr(scope.get("route"), "path", None)
            audit.milliseconds = response.milliseconds
            if scope["method"] in ("POST", "DELETE"):
                audit.write()


class _ResponseRecorder:
    """Sender that adds headers and records the status."""

    def __init__(self, send: Send, audit: AuditRecord, path: str, add_request_id: bool) -> None:
        self._send, self._audit, self._path, self._start = send, audit, path, time.perf_counter()
        self._add_request_id = add_request_id
        self._started = self.finished = False

    @property
    def milliseconds(self) -> int:
        return round(1000 * (time.perf_counter() - self._start))

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            if self._add_request_id:
                headers["x-request-id"] = self._audit.request
            headers["openai-processing-ms"] = str(self.milliseconds)
            headers["cache-control"] = "no-cache" if self._path.startswith("/studio/") else "no-store"
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            self._audit.status = message["status"]
        await self._send(message)
        self.finished = message["type"] == "http.response.body" and not message.get("more_body", False)

    async def fail(self, error: ApiError, scope: Scope, receive: Receive) -> None:
        self._audit.error = error.code
        if not self._started:
            await error_response(error)(scope, receive, self.send)


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", given) else f"req_{uuid.uuid4().hex}"


def _log(error: Exception, request_id: str) -> None:
    """Log type and traceback of an error, but not its text, which may contain a prompt."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    frames = "".join(traceback.format_tb(error.__traceback__))
    LOG.error("Request %s failed: %s\n%s", request_id, type(error).__name__, frames)
