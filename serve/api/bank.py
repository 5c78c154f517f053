"""``/v1/bank/{class}``: the captions that a class can be drawn from."""

import secrets
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Security

from serve.api.dependencies import AskedBackend, AskedService, allow, class_number, model_card, unknown_class
from serve.api.error_responses import ERRORS
from serve.api.field_errors import Problem, refuse
from serve.api.requests import HIGHEST_SEED, BankQuery, DistanceRequest, DrawQuery
from serve.api.responses import CaptionAnswer, CaptionPage, DistanceAnswer, DrawnCaption
from serve.api.strict_route import StrictRoute
from serve.backend import Backend, ModelCard
from serve.errors import ApiError

__all__ = ["router"]

router = APIRouter(
    route_class=StrictRoute, responses=ERRORS, tags=["bank"], dependencies=[Security(allow, scopes=["bank"])]
)

ClassName = Annotated[str, Path(alias="class", description="Name or number.")]


@router.get("/v1/bank/{class}", response_model=CaptionPage)
async def captions(class_name: ClassName, backend: AskedBackend, query: Annotated[BankQuery, Query()]) -> Any:
    """A class's captions, in the order of the bank."""
    card, label = await _class(backend, query.model, class_name)
    offset = 0 if query.after is None else 1 + _position(query.after)
    found, total = await backend.bank(card.name, label, offset, query.limit)
    page = [CaptionAnswer(id=entry.id, caption=entry.caption) for entry in found]
    return CaptionPage(data=page, has_more=offset + len(page) < total, total=total)


@router.get("/v1/bank/{class}/draw", response_model=DrawnCaption)
async def draw(class_name: ClassName, backend: AskedBackend, query: Annotated[DrawQuery, Query()]) -> Any:
    """The caption that an image of this class and seed is given; without a seed, of any."""
    card, label = await _class(backend, query.model, class_name)
    seed = secrets.randbelow(HIGHEST_SEED + 1) if query.seed is None else query.seed
    entry = await backend.draw(card.name, label, seed)
    return DrawnCaption(id=entry.id, caption=entry.caption, seed=seed)


@router.post("/v1/bank/{class}/distance", response_model=DistanceAnswer)
async def distance(class_name: ClassName, asked: DistanceRequest, backend: AskedBackend, service: AskedService) -> Any:
    """How far a text lies from a class's captions, as the model's text encoder sees it."""
    most = service.limits.prompt_characters
    if not asked.caption.strip() or len(asked.caption) > most:
        refuse([Problem("caption", f"caption: {len(asked.caption)} characters, wanted 1..{most}, not only blanks.")])
    card, label = await _class(backend, asked.model, class_name)
    return DistanceAnswer(**asdict(await backend.distance(card.name, label, asked.caption)))


async def _class(backend: Backend, model: str | None, name: str) -> tuple[ModelCard, int]:
    card = await model_card(backend, model)
    number = class_number(card, name)
    if number is None and name.isascii() and name.isdigit() and len(name) < 9:
        number = class_number(card, int(name))
    if number is None:
        raise ApiError(404, f"class: {unknown_class(card)}", "unknown_class", "class")
    return card, number


def _position(id: str) -> int:
    """Of an entry in its bank."""
    number = id.rsplit("-", 1)[-1]
    if not (number.isascii() and number.isdigit() and len(number) < 18):
        raise ApiError(400, "after: wanted the id of an entry, such as MEL-12.", "invalid_value", "after")
    return int(number)
