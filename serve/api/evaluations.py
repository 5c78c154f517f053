"""Routes ``/v1/evaluations``: image sets measured in the background."""

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Response, Security

from serve.api.authentication import Principal
from serve.api.dependencies import (
    AuditRecordDep,
    BackendDep,
    RateLimiterDep,
    SettingsDep,
    get_model,
    require_scopes,
    resolve_label,
)
from serve.api.error_responses import ERROR_RESPONSES
from serve.api.field_errors import FieldError, raise_field_errors
from serve.api.image_jobs import generation_errors, merge_settings
from serve.api.image_queries import decode_base64
from serve.api.images import IdempotencyKey
from serve.api.requests import EvaluationRequest
from serve.api.responses import DeletedEvaluation, EvaluationList
from serve.api.strict_route import StrictRoute
from serve.backend import Evaluation, EvaluationJob, ModelInfo
from serve.errors import not_enabled
from serve.settings import RequestLimits, ServiceSettings

__all__ = ["router"]

router = APIRouter(route_class=StrictRoute, responses=ERROR_RESPONSES, tags=["evaluations"])

EvaluationPrincipal = Annotated[Principal, Security(require_scopes, scopes=["evaluations"])]


@router.post("/v1/evaluations", status_code=202, response_model=Evaluation)
async def submit(
    body: EvaluationRequest,
    principal: EvaluationPrincipal,
    backend: BackendDep,
    service: SettingsDep,
    rate_limiter: RateLimiterDep,
    audit: AuditRecordDep,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Start an evaluation; a repeated Idempotency-Key returns the first one."""
    _require_evaluator(service)
    info = await get_model(backend, body.model)
    audit.model, audit.model_sha256 = info.name, info.sha256
    raise_field_errors(_field_errors(body, info, service.limits))
    job = _job(body, info)
    audit.count = job.n or len(job.images)
    if job.n:
        audit.seed = job.seed
        # An evaluation larger than the key's images per minute counts as one minute.
        response.headers.update(rate_limiter.acquire(principal, min(job.n, principal.images_per_minute or job.n)))
    evaluation = await backend.submit_evaluation(job, principal.id, idempotency_key)
    audit.evaluation = evaluation.id
    response.headers["location"] = f"/v1/evaluations/{evaluation.id}"
    return evaluation


@router.get("/v1/evaluations", response_model=EvaluationList)
async def evaluations(principal: EvaluationPrincipal, backend: BackendDep, service: SettingsDep) -> Any:
    """List the evaluations of the key, newest first."""
    _require_evaluator(service)
    return EvaluationList(data=[*await backend.evaluations(principal.id)])


@router.get("/v1/evaluations/{id}", response_model=Evaluation)
async def evaluation(id: str, principal: EvaluationPrincipal, backend: BackendDep, service: SettingsDep) -> Any:
    """Get an evaluation."""
    _require_evaluator(service)
    return await backend.evaluation(id, principal.id)


@router.delete("/v1/evaluations/{id}", response_model=DeletedEvaluation)
async def delete(
    id: str, principal: EvaluationPrincipal, backend: BackendDep, service: SettingsDep, audit: AuditRecordDep
) -> Any:
    """Delete an evaluation; one that runs is stopped."""
    _require_evaluator(service)
    audit.evaluation = id[:64]
    await backend.delete_evaluation(id, principal.id)
    return DeletedEvaluation(id=id)


def _require_evaluator(service: ServiceSettings) -> None:
    if service.evaluator is None:
        raise not_enabled("evaluator")


def _job(body: EvaluationRequest, info: ModelInfo) -> EvaluationJob:
    if (generate := body.generate) is None:
        images = tuple(decode_base64(text, f"images.{index}") for index, text in enumerate(body.images or ()))
        return EvaluationJob(info.name, images)
    return EvaluationJob(
        info.name,
        n=generate.n,
        label=None if generate.label is None else resolve_label(info, generate.label),
        seed=generate.seed,
        settings=merge_settings(generate, info),
    )


def _field_errors(body: EvaluationRequest, info: ModelInfo, limits: RequestLimits) -> Iterator[FieldError]:
    if (body.images is None) == (body.generate is None):
        received = "neither" if body.images is None else "both"
        yield FieldError("images", f"images, generate: got {received}; exactly one is required.")
    if not info.has_reference:
        yield FieldError("model", f"model: no real images are available for {info.name}. Use another model.")
    n = len(body.images or ()) or (body.generate.n if body.generate else 0)
    if n > limits.evaluation_images:
        name = "images" if body.images else "generate.n"
        yield FieldError(name, f"{name}: {n} images, at most {limits.evaluation_images}.")
    if body.generate is not None:
        yield from generation_errors(body.generate, info, limits, "generate.")
