"""Who may come in; nothing of a request is read before."""

from starlette._utils import get_route_path
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from serve.api.principals import ApiKeyStore

__all__ = ["ApiKeyMiddleware"]

PUBLIC_PATHS = ("/healthz", "/readyz", "/")
PUBLIC_PREFIX = "/studio/"


class ApiKeyMiddleware:
    """ASGI middleware: paths that are not open need a key, those that do not exist as well."""

    def __init__(self, app: ASGIApp, keys: ApiKeyStore, has_keys: bool) -> None:
        self.app, self._keys, self._has_keys = app, keys, has_keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let in, or raise what ``ApiKeyStore.authenticate`` raises."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http" and not (self._has_keys and _is_open(get_route_path(scope))):
            principal = self._keys.authenticate(HTTPConnection(scope))
            scope["state"]["principal"], scope["state"]["audit"].key = principal, principal.id
        await self.app(scope, receive, send)


def _is_open(path: str) -> bool:
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIX)
