"""``/v1/models`` and ``/v1/classes``."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Security

from serve.api.dependencies import Allowed, AskedBackend, AskedService, allow, model_card
from serve.api.error_responses import ERRORS
from serve.api.requests import ModelQuery
from serve.api.responses import ClassAnswer, ClassList, ModelAnswer, ModelList
from serve.api.strict_route import StrictRoute
from serve.backend import ModelCard

__all__ = ["router"]

router = APIRouter(route_class=StrictRoute, responses=ERRORS, tags=["models"], dependencies=[Security(allow)])


@router.get("/v1/models", response_model=ModelList)
async def models(backend: AskedBackend, owner: Allowed, service: AskedService) -> Any:
    """What the service has."""
    off = {
        "evaluations": service.evaluator is None,
        "captions": service.captioner is None,
        "neighbours": not service.show_training_images,
    }
    offers = [scope for scope in owner.scopes if not off.get(scope)]
    return ModelList(data=[_answer(card) for card in await backend.models()], offers=offers)


@router.get("/v1/models/{id}", response_model=ModelAnswer)
async def model(id: str, backend: AskedBackend) -> Any:
    """One of them."""
    return _answer(await model_card(backend, id))


@router.get("/v1/classes", response_model=ClassList)
async def classes(backend: AskedBackend, query: Annotated[ModelQuery, Query()]) -> Any:
    """What a model can be asked for."""
    card = await model_card(backend, query.model)
    found = [ClassAnswer(label=label, class_name=name) for label, name in enumerate(card.class_names)]
    return ClassList(model=card.name, data=found)


def _answer(card: ModelCard) -> ModelAnswer:
    return ModelAnswer(
        id=card.name,
        created=card.created,
        sha256=card.sha256,
        classes=list(card.class_names),
        image_size=card.image_size,
        defaults=asdict(card.settings),
        max_inference_steps=card.max_inference_steps,
        has_prototypes=card.has_prototypes,
        has_reference=card.has_reference,
    )
