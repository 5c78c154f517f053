"""``/v1/evaluations``: sets of pictures are measured in the background."""

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Response, Security

from serve.api.dependencies import AskedBackend, AskedRates, AskedService, Audit, allow, class_number, model_card
from serve.api.error_responses import ERRORS
from serve.api.field_errors import Problem, refuse
from serve.api.image_jobs import generation_problems, settings_of
from serve.api.image_queries import picture_of
from serve.api.images import IdempotencyKey
from serve.api.principals import Owner
from serve.api.requests import EvaluationRequest
from serve.api.responses import EvaluationList
from serve.api.strict_route import StrictRoute
from serve.backend import Evaluation, EvaluationOrder, ModelCard
from serve.errors import ApiError
from serve.settings import Limits, Service

__all__ = ["router"]

router = APIRouter(route_class=StrictRoute, responses=ERRORS, tags=["evaluations"])

Measurer = Annotated[Owner, Security(allow, scopes=["evaluations"])]


@router.post("/v1/evaluations", status_code=202, response_model=Evaluation)
async def submit(
    asked: EvaluationRequest,
    owner: Measurer,
    backend: AskedBackend,
    service: AskedService,
    rates: AskedRates,
    audit: Audit,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Measure a set of pictures; the same Idempotency-Key gives the evaluation that the first request began."""
    _require_evaluator(service)
    card = await model_card(backend, asked.model)
    audit.model, audit.model_sha256 = card.name, card.sha256
    refuse([*_problems(asked, card, service.limits)])
    order = _order(asked, card)
    audit.count = order.n or len(order.images)
    if order.n:
        audit.seed = order.seed
        # A large one takes all that the key may have in a minute; it could never have its number.
        response.headers.update(rates.take(owner, min(order.n, owner.images_per_minute or order.n)))
    evaluation = await backend.submit_evaluation(order, owner.id, idempotency_key)
    audit.evaluation = evaluation.id
    response.headers["location"] = f"/v1/evaluations/{evaluation.id}"
    return evaluation


@router.get("/v1/evaluations", response_model=EvaluationList)
async def evaluations(owner: Measurer, backend: AskedBackend, service: AskedService) -> Any:
    """The key's own, newest first."""
    _require_evaluator(service)
    return EvaluationList(data=[*await backend.evaluations(owner.id)])


@router.get("/v1/evaluations/{id}", response_model=Evaluation)
async def evaluation(id: str, owner: Measurer, backend: AskedBackend, service: AskedService) -> Any:
    """Where one stands."""
    _require_evaluator(service)
    return await backend.evaluation(id, owner.id)


def _require_evaluator(service: Service) -> None:
    if service.evaluator is None:
        raise ApiError(404, "This service does not offer it: its setting evaluator is off.", "not_enabled")


def _order(asked: EvaluationRequest, card: ModelCard) -> EvaluationOrder:
    if (wanted := asked.generate) is None:
        images = tuple(picture_of(text, f"images.{index}") for index, text in enumerate(asked.images or ()))
        return EvaluationOrder(card.name, images)
    return EvaluationOrder(
        card.name,
        n=wanted.n,
        label=None if wanted.label is None else class_number(card, wanted.label),
        seed=wanted.seed,
        settings=settings_of(wanted, card),
    )


def _problems(asked: EvaluationRequest, card: ModelCard, limits: Limits) -> Iterator[Problem]:
    if (asked.images is None) == (asked.generate is None):
        found = "neither is there" if asked.images is None else "both are there"
        yield Problem("images", f"images, generate: {found}. Give pictures, or how to generate them.")
    if not card.has_reference:
        yield Problem("model", f"model: {card.name} has no real pictures to measure against. Name another one.")
    n = len(asked.images or ()) or (asked.generate.n if asked.generate else 0)
    if n > limits.evaluation_images:
        where = "images" if asked.images else "generate.n"
        yield Problem(where, f"{where}: {n} pictures, at most {limits.evaluation_images}.")
    if asked.generate is not None:
        yield from generation_problems(asked.generate, card, limits, "generate.")
