"""What routes are handed: the computing side, the settings, who asks, and the audit line.

All of them coroutines: FastAPI sends others to a pool of threads, which costs most of the time where 1,000 wait.
"""

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer, SecurityScopes

from serve.api.audit_log import AuditRecord
from serve.api.principals import Principal
from serve.api.rate_limit import RateLimiter
from serve.backend import Backend, ModelInfo
from serve.errors import ApiError
from serve.settings import ServiceSettings

__all__ = [
    "AuditRecordDep",
    "BackendDep",
    "PrincipalDep",
    "RateLimiterDep",
    "SettingsDep",
    "get_model",
    "require_scopes",
    "resolve_label",
    "unknown_label_message",
]

BEARER = HTTPBearer(auto_error=False, description="An API key: vr_...")


async def _backend(request: Request) -> Backend:
    return request.app.state.backend


async def _service(request: Request) -> ServiceSettings:
    return request.app.state.service


async def _rates(request: Request) -> RateLimiter:
    return request.app.state.rate_limiter


async def _audit(request: Request) -> AuditRecord:
    return request.state.audit


async def require_scopes(request: Request, wanted: SecurityScopes, _: Annotated[object, Depends(BEARER)]) -> Principal:
    """The owner that the door let in, if the key has the scopes."""
    principal: Principal = request.state.principal
    for scope in wanted.scopes:
        principal.require(scope)  # type: ignore[arg-type]
    return principal


BackendDep = Annotated[Backend, Depends(_backend)]
SettingsDep = Annotated[ServiceSettings, Depends(_service)]
RateLimiterDep = Annotated[RateLimiter, Depends(_rates)]
AuditRecordDep = Annotated[AuditRecord, Depends(_audit)]
PrincipalDep = Annotated[Principal, Security(require_scopes)]


async def get_model(backend: Backend, name: str | None) -> ModelInfo:
    """A model, by default the service's first.

    Raises:
        ApiError: 404.
    """
    cards = await backend.models()
    for info in cards:
        if name in (None, info.name):
            return info
    known = ", ".join(info.name for info in cards)
    raise ApiError(404, f"There is no model of this name. There are: {known}.", "unknown_model", "model")


def resolve_label(info: ModelInfo, label: int | str) -> int | None:
    """Of a class by its name, in any case, or number; None for none."""
    if isinstance(label, int):
        return label if 0 <= label < len(info.class_names) else None
    folded = [name.casefold() for name in info.class_names]
    return folded.index(label.casefold()) if label.casefold() in folded else None


def unknown_label_message(info: ModelInfo) -> str:
    """What to say of one."""
    return f"no such class; {info.name} has {', '.join(info.class_names)}, or 0..{len(info.class_names) - 1}."
