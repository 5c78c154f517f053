"""``/v1/bank/{class}``: the captions that a class can be drawn from."""

import secrets
from dataclasses import asdict
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
from serve.api.field_errors import FieldError, raise_field_errors
from serve.api.requests import MAX_SEED, BankQuery, DistanceRequest, DrawQuery
from serve.api.responses import CaptionObject, CaptionPage, DistanceResponse, SampledCaption
from serve.api.strict_route import StrictRoute
from serve.backend import Backend, ModelInfo
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
    """A class's captions, in the order of the bank."""
    info, label = await _class(backend, query.model, class_name)
    offset = 0 if query.after is None else 1 + _position(query.after)
    found, total = await backend.bank(info.name, label, offset, query.limit)
    page = [CaptionObject(id=entry.id, caption=entry.caption) for entry in found]
    return CaptionPage(data=page, has_more=offset + len(page) < total, total=total)


@router.get("/v1/bank/{class}/draw", response_model=SampledCaption)
async def draw(class_name: ClassName, backend: BackendDep, query: Annotated[DrawQuery, Query()]) -> Any:
    """The caption that an image of this class and seed is given; without a seed, of any."""
    info, label = await _class(backend, query.model, class_name)
    seed = secrets.randbelow(MAX_SEED + 1) if query.seed is None else query.seed
    entry = await backend.draw(info.name, label, seed)
    return SampledCaption(id=entry.id, caption=entry.caption, seed=seed)


@router.post("/v1/bank/{class}/distance", response_model=DistanceResponse)
async def distance(class_name: ClassName, body: DistanceRequest, backend: BackendDep, service: SettingsDep) -> Any:
    """How far a text lies from a class's captions, as the model's text encoder sees it."""
    most = service.limits.prompt_characters
    if not body.caption.strip() or len(body.caption) > most:
        raise_field_errors(
            [FieldError("caption", f"caption: {len(body.caption)} characters, wanted 1..{most}, not only blanks.")]
        )
    info, label = await _class(backend, body.model, class_name)
    return DistanceResponse(**asdict(await backend.distance(info.name, label, body.caption)))


async def _class(backend: Backend, model: str | None, name: str) -> tuple[ModelInfo, int]:
    info = await get_model(backend, model)
    number = resolve_label(info, name)
    if number is None and name.isascii() and name.isdigit() and len(name) < 9:
        number = resolve_label(info, int(name))
    if number is None:
        raise ApiError(404, f"class: {unknown_label_message(info)}", "unknown_class", "class")
    return info, number


def _position(id: str) -> int:
    """Of an entry in its bank."""
    number = id.rsplit("-", 1)[-1]
    if not (number.isascii() and number.isdigit() and len(number) < 18):
        raise ApiError(400, "after: wanted the id of an entry, such as MEL-12.", "invalid_value", "after")
    return int(number)
