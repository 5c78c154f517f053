"""``POST /v1/images/generations``, as OpenAI has it."""

import asyncio
import time
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response, Security

from serve.api.dependencies import AskedBackend, AskedRates, AskedService, Audit, allow, model_card
from serve.api.error_responses import ERRORS
from serve.api.image_events import EVENTS, EventStream
from serve.api.image_jobs import first_seed, image_orders
from serve.api.image_responses import facts_of, usage_of
from serve.api.principals import Owner
from serve.api.requests import ImageRequest
from serve.api.responses import ImagesAnswer
from serve.api.strict_route import StrictRoute
from serve.backend import Backend, ImageOrder, MadeImage
from serve.errors import ApiError

__all__ = ["IdempotencyKey", "router"]

router = APIRouter(route_class=StrictRoute, responses=ERRORS, tags=["images"])

IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255)]


@router.post("/v1/images/generations", response_model=ImagesAnswer, responses=EVENTS)
async def generate(
    asked: ImageRequest,
    owner: Annotated[Owner, Security(allow, scopes=["images"])],
    backend: AskedBackend,
    service: AskedService,
    rates: AskedRates,
    audit: Audit,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Make images. The same Idempotency-Key gives the same seeds, and so the same images."""
    card = await model_card(backend, asked.model)
    audit.model, audit.model_sha256, audit.count = card.name, card.sha256, asked.n
    seed = first_seed(asked.seed, idempotency_key, owner.id)
    orders = image_orders(asked, card, service.limits, seed=seed, request_id=audit.request)
    audit.seed = seed
    headers = rates.take(owner, asked.n)
    size = f"{card.image_size}x{card.image_size}"
    if asked.stream:
        return EventStream([backend.image_stream(order) for order in orders], orders, size, headers)
    made = await _all(backend, orders)
    response.headers.update(headers)
    return ImagesAnswer(
        created=int(time.time()), data=[facts_of(one) for one in made], usage=usage_of(made), size=size, model=card.name
    )


async def _all(backend: Backend, orders: Sequence[ImageOrder]) -> list[MadeImage]:
    """Side by side; the first that fails ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(backend.image(order)) for order in orders]
    except ExceptionGroup as failures:
        told = failures.subgroup(ApiError)
        raise (told or failures).exceptions[0] from None
    return [task.result() for task in tasks]
