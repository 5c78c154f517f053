"""Authentication: API keys, or local connections if the service has no keys; runs before the request body is read."""

import ipaddress
import logging
import os
import re
from dataclasses import dataclass
from typing import get_args

from starlette._utils import get_route_path
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as ConnectionScope

from serve.errors import ApiError
from vapray.errors import ConfigError
from vapray.service.api_keys import ApiKey, Scope, key_that_matches, read_keys

__all__ = ["LOCAL_PRINCIPAL", "ApiKeyMiddleware", "ApiKeyStore", "Principal"]

LOG = logging.getLogger("vapray.api")
PUBLIC_PATHS = ("/healthz", "/readyz", "/")
PUBLIC_PREFIXES = ("/studio/", "/v1/images/links/")
PROXY_HEADERS = ("forwarded", "x-forwarded-for", "via")
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Principal:
    """Authenticated caller."""

    id: str
    scopes: tuple[Scope, ...]
    images_per_minute: int | None

    def require(self, scope: Scope) -> None:
        """Check a scope.

        Raises:
            ApiError: 403, the key lacks the scope.
        """
        if scope not in self.scopes:
            raise ApiError(
                403,
                f"The key {self.id} lacks the scope {scope}; it has {', '.join(self.scopes)}. Use another key.",
                "insufficient_scope",
            )


LOCAL_PRINCIPAL = Principal("local", get_args(Scope), None)


class ApiKeyStore:
    """API keys of the service.

    Args:
        file: File of API keys, reloaded when it changes; None: only clients on the same machine are accepted.

    Raises:
        ConfigError: The file is invalid.
    """

    def __init__(self, file: str | None) -> None:
        self._file = file
        self._version, self._keys = (_version(file), read_keys(file)) if file else (None, ())

    @property
    def has_keys(self) -> bool:
        """True if the service has a file of API keys."""
        return self._file is not None

    def authenticate(self, connection: HTTPConnection) -> Principal:
        """Find the principal of a request.

        Raises:
            ApiError: 401, the key is missing or unknown; 403, a remote client of a service without keys.
        """
        if self._file is None:
            _require_loopback(connection)
            return LOCAL_PRINCIPAL
        scheme, _, presented = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not presented.strip():
            raise ApiError(401, "No API key. Send the header Authorization: Bearer vr_...", "missing_api_key")
        key = key_that_matches(self._current(self._file), presented.strip())
        if key is None:
            raise ApiError(401, "Unknown API key. Request one from the operator of the service.", "invalid_api_key")
        return Principal(key.id, key.scopes, key.images_per_minute)

    def _current(self, file: str) -> tuple[ApiKey, ...]:
        """Reload a changed file; an invalid file has no keys, because a revoked key must not stay valid."""
        if (version := _version(file)) != self._version:
            self._keys, self._version = (), version
            try:
                self._keys = read_keys(file)
            except ConfigError as error:
                LOG.error("All API keys are rejected: %s", error)
        return self._keys


def _version(file: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _require_loopback(connection: HTTPConnection) -> None:
    """Require a direct connection from this machine, and a local Host against DNS rebinding by foreign pages."""
    host, proxied = connection.headers.get("host", ""), any(name in connection.headers for name in PROXY_HEADERS)
    if proxied or not (connection.client and _is_loopback(connection.client.host)):
        raise ApiError(403, "Without api_keys_file the service accepts only clients on its own machine.", "not_local")
    if re.sub(r":[0-9]*$", "", host.lower()) not in LOOPBACK_NAMES:
        raise ApiError(403, f"Host is {host[:64]!r}; expected one of {', '.join(LOOPBACK_NAMES)}.", "foreign_host")


def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)


class ApiKeyMiddleware:
    """ASGI middleware that authenticates every request. With keys, public paths need none; without, all are local."""

    def __init__(self, app: ASGIApp, keys: ApiKeyStore) -> None:
        self.app, self._keys = app, keys

    async def __call__(self, scope: ConnectionScope, receive: Receive, send: Send) -> None:
        """Authenticate the request; raises the errors of ``ApiKeyStore.authenticate``."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http" and not (self._keys.has_keys and _is_public(get_route_path(scope))):
            principal = self._keys.authenticate(HTTPConnection(scope))
            scope["state"]["principal"], scope["state"]["audit"].key = principal, principal.id
        await self.app(scope, receive, send)


def _is_public(path: str) -> bool:
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIXES)
