"""``/v1/models`` and ``/v1/classes``."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Security

from serve.api.dependencies import BackendDep, PrincipalDep, SettingsDep, get_model, require_scopes
from serve.api.error_responses import ERROR_RESPONSES
from serve.api.requests import ModelQuery
from serve.api.responses import ClassList, ClassObject, ModelList, ModelObject
from serve.api.strict_route import StrictRoute
from serve.backend import ModelInfo

__all__ = ["router"]

router = APIRouter(
    route_class=StrictRoute, responses=ERROR_RESPONSES, tags=["models"], dependencies=[Security(require_scopes)]
)


@router.get("/v1/models", response_model=ModelList)
async def models(backend: BackendDep, principal: PrincipalDep, service: SettingsDep) -> Any:
    """What the service has."""
    off = {
        "evaluations": service.evaluator is None,
        "captions": service.captioner is None,
        "neighbours": not service.show_training_images,
    }
    offers = [scope for scope in principal.scopes if not off.get(scope)]
    return ModelList(data=[_answer(info) for info in await backend.models()], offers=offers)


@router.get("/v1/models/{id}", response_model=ModelObject)
async def model(id: str, backend: BackendDep) -> Any:
    """One of them."""
    return _answer(await get_model(backend, id))


@router.get("/v1/classes", response_model=ClassList)
async def classes(backend: BackendDep, query: Annotated[ModelQuery, Query()]) -> Any:
    """What a model can be asked for."""
    info = await get_model(backend, query.model)
    found = [ClassObject(label=label, class_name=name) for label, name in enumerate(info.class_names)]
    return ClassList(model=info.name, data=found)


def _answer(info: ModelInfo) -> ModelObject:
    return ModelObject(
        id=info.name,
        created=info.created,
        sha256=info.sha256,
        classes=list(info.class_names),
        image_size=info.image_size,
        defaults=asdict(info.settings),
        max_inference_steps=info.max_inference_steps,
        has_prototypes=info.has_prototypes,
        has_reference=info.has_reference,
    )
