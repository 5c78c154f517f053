"""Who asks: the key a client presents, or this machine where the service has none."""

import ipaddress
import logging
import os
import re
from dataclasses import dataclass
from typing import get_args

from starlette.requests import HTTPConnection

from serve.errors import ApiError
from vapray.api_keys import ApiKey, Scope, key_that_matches, read_keys
from vapray.errors import ConfigError

__all__ = ["LOCAL_PRINCIPAL", "ApiKeyStore", "Principal"]

LOG = logging.getLogger("vapray.api")
PROXIED = ("forwarded", "x-forwarded-for", "via")
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Principal:
    """Whose request it is."""

    id: str
    scopes: tuple[Scope, ...]
    images_per_minute: int | None

    def require(self, scope: Scope) -> None:
        """Refuse what the key does not open.

        Raises:
            ApiError: 403.
        """
        if scope not in self.scopes:
            raise ApiError(
                403,
                f"The key {self.id} has no scope {scope}; it has {', '.join(self.scopes)}. Use one that has it.",
                "insufficient_scope",
            )


LOCAL_PRINCIPAL = Principal("local", get_args(Scope), None)


class ApiKeyStore:
    """Those who may ask.

    Args:
        file: of API keys; a changed file counts from the next request on. None: this machine alone may ask.

    Raises:
        ConfigError: what ``read_keys`` refuses.
    """

    def __init__(self, file: str | None) -> None:
        self._file = file
        self._version, self._keys = (_version(file), read_keys(file)) if file else (None, ())

    def authenticate(self, connection: HTTPConnection) -> Principal:
        """Whose request it is.

        Raises:
            ApiError: 401 for no key or a wrong one, 403 from elsewhere than this machine where there are none.
        """
        if self._file is None:
            _require_loopback(connection)
            return LOCAL_PRINCIPAL
        scheme, _, presented = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not presented.strip():
            raise ApiError(401, "No API key. Send the header Authorization: Bearer vr_...", "missing_api_key")
        key = key_that_matches(self._current(self._file), presented.strip())
        if key is None:
            raise ApiError(401, "This API key is not known. Ask whoever runs the service for one.", "invalid_api_key")
        return Principal(key.id, key.scopes, key.images_per_minute)

    def _current(self, file: str) -> tuple[ApiKey, ...]:
        """A file that cannot be used opens nothing: a key that was to be withdrawn must not live on."""
        if (version := _version(file)) != self._version:
            self._keys, self._version = (), version
            try:
                self._keys = read_keys(file)
            except ConfigError as error:
                LOG.error("no key is accepted any more: %s", error)
        return self._keys


def _version(file: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _require_loopback(connection: HTTPConnection) -> None:
    """By address, not through a proxy, and by name: a foreign page can point its own name at 127.0.0.1."""
    host, proxied = connection.headers.get("host", ""), any(name in connection.headers for name in PROXIED)
    if proxied or not (connection.client and _is_loopback(connection.client.host)):
        raise ApiError(
            403, "This service has no keys and answers its own machine alone. Give it a file of keys.", "not_local"
        )
    if re.sub(r":[0-9]*$", "", host.lower()) not in LOOPBACK_NAMES:
        raise ApiError(403, f"Host is {host[:64]!r}. Wanted one of {', '.join(LOOPBACK_NAMES)}.", "foreign_host")


def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)
