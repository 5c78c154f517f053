"""FastAPI dependencies of routes.

All are coroutines: FastAPI runs other functions in a thread pool, which dominates the time of 1,000 waiting requests.
"""

from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer, SecurityScopes

from serve.api.audit_log import AuditRecord
from serve.api.authentication import Principal
from serve.api.key_windows import KeyWindows
from serve.api.rate_limit import RateLimiter
from serve.backend import Backend, ModelInfo
from serve.class_names import class_named_by
from serve.errors import unknown_model
from serve.image_links import ImageLinks
from serve.settings import ServiceSettings

__all__ = [
    "AuditRecordDep",
    "BackendDep",
    "LinksDep",
    "PrincipalDep",
    "RateLimiterDep",
    "SettingsDep",
    "WindowsDep",
    "get_model",
    "require_scopes",
    "resolve_label",
    "unknown_label_message",
]

BEARER = HTTPBearer(auto_error=False, description="API key: vr_...")
"""Scheme for the OpenAPI document only; ``ApiKeyMiddleware`` has authenticated the request before."""


def _app_state(name: str) -> Any:
    async def get(request: Request) -> Any:
        return getattr(request.app.state, name)

    return Depends(get)


async def _audit(request: Request) -> AuditRecord:
    return request.state.audit


async def require_scopes(
    request: Request, required: SecurityScopes, _: Annotated[object, Depends(BEARER)]
) -> Principal:
    """Get the authenticated principal, and check its scopes."""
    principal: Principal = request.state.principal
    for scope in required.scopes:
        principal.require(scope)  # type: ignore[arg-type]
    return principal


BackendDep = Annotated[Backend, _app_state("backend")]
SettingsDep = Annotated[ServiceSettings, _app_state("service")]
LinksDep = Annotated[ImageLinks, _app_state("links")]
WindowsDep = Annotated[KeyWindows, _app_state("windows")]
RateLimiterDep = Annotated[RateLimiter, _app_state("rate_limiter")]
AuditRecordDep = Annotated[AuditRecord, Depends(_audit)]
PrincipalDep = Annotated[Principal, Security(require_scopes)]


async def get_model(backend: Backend, name: str | None) -> ModelInfo:
    """Get a model by name or alias; the default is the first one of the service.

    Raises:
        ApiError: 404.
    """
    models = await backend.models()
    for info in models:
        if name is None or name == info.name or name in info.aliases:
            return info
    raise unknown_model(info.name for info in models)


def resolve_label(info: ModelInfo, label: int | str) -> int | None:
    """Find the number of a class from its number or name; None for an unknown class."""
    if isinstance(label, int):
        return label if 0 <= label < len(info.class_names) else None
    return class_named_by(label, info.class_names)


def unknown_label_message(info: ModelInfo) -> str:
    """Describe the classes of a model, for the error of an unknown one."""
    return f"unknown class; {info.name} has {', '.join(info.class_names)}, or 0..{len(info.class_names) - 1}."
