"""Who may come in; nothing of a request is read before."""

from starlette._utils import get_route_path
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from serve.api.principals import Owners

__all__ = ["Door"]

OPEN = ("/healthz", "/readyz", "/")
OPEN_FOLDER = "/studio/"


class Door:
    """ASGI middleware: paths that are not open need a key, those that do not exist as well."""

    def __init__(self, app: ASGIApp, owners: Owners, has_keys: bool) -> None:
        self.app, self._owners, self._has_keys = app, owners, has_keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let in, or raise what ``Owners.of`` raises."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http" and not (self._has_keys and _is_open(get_route_path(scope))):
            owner = self._owners.of(HTTPConnection(scope))
            scope["state"]["owner"], scope["state"]["audit"].key = owner, owner.id
        await self.app(scope, receive, send)


def _is_open(path: str) -> bool:
    return path in OPEN or path.startswith(OPEN_FOLDER)
