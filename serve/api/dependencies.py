"""What routes are handed: the computing side, the settings, who asks, and the audit line.

All of them coroutines: FastAPI sends others to a pool of threads, which costs most of the time where 1,000 wait.
"""

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer, SecurityScopes

from serve.api.audit_log import AuditLine
from serve.api.principals import Owner
from serve.api.rate_limit import Rates
from serve.backend import Backend, ModelCard
from serve.errors import ApiError
from serve.settings import Service

__all__ = [
    "Allowed",
    "AskedBackend",
    "AskedRates",
    "AskedService",
    "Audit",
    "allow",
    "class_number",
    "model_card",
    "unknown_class",
]

BEARER = HTTPBearer(auto_error=False, description="An API key: vr_...")


async def _backend(request: Request) -> Backend:
    return request.app.state.backend


async def _service(request: Request) -> Service:
    return request.app.state.service


async def _rates(request: Request) -> Rates:
    return request.app.state.rates


async def _audit(request: Request) -> AuditLine:
    return request.state.audit


async def allow(request: Request, wanted: SecurityScopes, _: Annotated[object, Depends(BEARER)]) -> Owner:
    """The owner that the door let in, if the key has the scopes."""
    owner: Owner = request.state.owner
    for scope in wanted.scopes:
        owner.require(scope)  # type: ignore[arg-type]
    return owner


AskedBackend = Annotated[Backend, Depends(_backend)]
AskedService = Annotated[Service, Depends(_service)]
AskedRates = Annotated[Rates, Depends(_rates)]
Audit = Annotated[AuditLine, Depends(_audit)]
Allowed = Annotated[Owner, Security(allow)]


async def model_card(backend: Backend, name: str | None) -> ModelCard:
    """A model, by default the service's first.

    Raises:
        ApiError: 404.
    """
    cards = await backend.models()
    for card in cards:
        if name in (None, card.name):
            return card
    known = ", ".join(card.name for card in cards)
    raise ApiError(404, f"There is no model of this name. There are: {known}.", "unknown_model", "model")


def class_number(card: ModelCard, label: int | str) -> int | None:
    """Of a class by its name, in any case, or number; None for none."""
    if isinstance(label, int):
        return label if 0 <= label < len(card.class_names) else None
    folded = [name.casefold() for name in card.class_names]
    return folded.index(label.casefold()) if label.casefold() in folded else None


def unknown_class(card: ModelCard) -> str:
    """What to say of one."""
    return f"no such class; {card.name} has {', '.join(card.class_names)}, or 0..{len(card.class_names) - 1}."
