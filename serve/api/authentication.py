"""API-key authentication middleware; runs before the request body is read."""

from starlette._utils import get_route_path
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from serve.api.principals import ApiKeyStore

__all__ = ["ApiKeyMiddleware"]

PUBLIC_PATHS = ("/healthz", "/readyz", "/")
PUBLIC_PREFIX = "/studio/"


class ApiKeyMiddleware:
    """ASGI middleware that authenticates every request, except those of public paths in a service with keys."""

    def __init__(self, app: ASGIApp, keys: ApiKeyStore) -> None:
        self.app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authenticate the request; raises the errors of ``ApiKeyStore.authenticate``."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http" and not (self._keys.has_keys and _is_public(get_route_path(scope))):
            principal = self._keys.authenticate(HTTPConnection(scope))
            scope["state"]["principal"], scope["state"]["audit"].key = principal, principal.id
        await self.app(scope, receive, send)


def _is_public(path: str) -> bool:
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIX)
