"""Routes ``/v1/bank/{class}``: captions of a class."""

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Security

from serve.api.dependencies import (
    BackendDep,
    SettingsDep,
    get_model,
    require_scopes,
    resolve_label,
    unknown_label_message,
)
from serve.api.error_responses import ERROR_RESPONSES
from serve.api.requests import MAX_SEED, BankQuery, DistanceRequest, DrawQuery
from serve.api.responses import CaptionPage, SampledCaption
from serve.api.strict_route import StrictRoute
from serve.backend import Backend, DistanceResult, ModelInfo
from serve.errors import ApiError

__all__ = ["router"]

router = APIRouter(
    route_class=StrictRoute,
    responses=ERROR_RESPONSES,
    tags=["bank"],
    dependencies=[Security(require_scopes, scopes=["bank"])],
)

ClassName = Annotated[str, Path(alias="class", description="Name or number.")]


@router.get("/v1/bank/{class}", response_model=CaptionPage)
async def captions(class_name: ClassName, backend: BackendDep, query: Annotated[BankQuery, Query()]) -> Any:
    """List the captions of a class, in the order of the bank."""
    info, label = await _class(backend, query.model, class_name)
    offset = 0 if query.after is None else 1 + _position(query.after)
    entries, total = await backend.bank(info.name, label, offset, query.limit)
    return CaptionPage(data=entries, has_more=offset + len(entries) < total, total=total)


@router.get("/v1/bank/{class}/draw", response_model=SampledCaption)
async def draw(class_name: ClassName, backend: BackendDep, query: Annotated[DrawQuery, Query()]) -> Any:
    """Draw the caption that an image of this class and seed gets; without a seed a random one."""
    info, label = await _class(backend, query.model, class_name)
    seed = secrets.randbelow(MAX_SEED + 1) if query.seed is None else query.seed
    entry = await backend.draw(info.name, label, seed)
    return SampledCaption(id=entry.id, caption=entry.caption, seed=seed)


@router.post("/v1/bank/{class}/distance", response_model=DistanceResult)
async def distance(class_name: ClassName, body: DistanceRequest, backend: BackendDep, service: SettingsDep) -> Any:
    """Measure the distance between a caption and those of a class, in the model's text encoder."""
    length, limit = len(body.caption), service.limits.prompt_characters
    if not body.caption.strip() or length > limit:
        message = f"caption: {length} characters, expected 1..{limit}, not only blanks."
        raise ApiError(400, message, "invalid_value", "caption")
    info, label = await _class(backend, body.model, class_name)
    return await backend.distance(info.name, label, body.caption)


async def _class(backend: Backend, model: str | None, name: str) -> tuple[ModelInfo, int]:
    info = await get_model(backend, model)
    label = resolve_label(info, name)
    if label is None and name.isascii() and name.isdigit() and len(name) < 9:
        label = resolve_label(info, int(name))
    if label is None:
        raise ApiError(404, f"class: {unknown_label_message(info)}", "unknown_class", "class")
    return info, label


def _position(id: str) -> int:
    """Parse the position of an entry in its bank."""
    number = id.rsplit("-", 1)[-1]
    if not (number.isascii() and number.isdigit() and len(number) < 18):
        raise ApiError(400, "after: expected the id of an entry, such as MEL-12.", "invalid_value", "after")
    return int(number)
