"""Routes ``/v1/models`` and ``/v1/classes``."""

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
    """List the models."""
    disabled = {
        "evaluations": service.evaluator is None,
        "captions": service.captioner is None,
        "neighbours": not service.show_training_images,
    }
    offers = [scope for scope in principal.scopes if not disabled.get(scope)]
    return ModelList(data=[_model_object(info) for info in await backend.models()], offers=offers)


@router.get("/v1/models/{id}", response_model=ModelObject)
async def model(id: str, backend: BackendDep) -> Any:
    """Get a model."""
    return _model_object(await get_model(backend, id))


@router.get("/v1/classes", response_model=ClassList)
async def classes(backend: BackendDep, query: Annotated[ModelQuery, Query()]) -> Any:
    """List the classes of a model."""
    info = await get_model(backend, query.model)
    data = [ClassObject(label=label, class_name=name) for label, name in enumerate(info.class_names)]
    return ClassList(model=info.name, data=data)


def _model_object(info: ModelInfo) -> ModelObject:
    fields = asdict(info)
    return ModelObject(
        id=fields.pop("name"),
        aliases=list(fields.pop("aliases")),
        classes=list(fields.pop("class_names")),
        defaults=fields.pop("settings"),
        **fields,
    )
