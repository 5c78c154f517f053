"""Routes ``/v1/evaluations``: image sets measured in the background."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response, Security

from serve.api.audit_log import AuditRecord
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
from serve.api.image_form import IMAGE_FORM, receive_images
from serve.api.image_jobs import generation_errors, merge_settings
from serve.api.images import IdempotencyKey
from serve.api.requests import EvaluationRequest, GenerateRequest
from serve.api.responses import DeletedEvaluation, EvaluationList
from serve.api.strict_route import StrictRoute
from serve.backend import Backend, Evaluation, EvaluationJob, ModelInfo
from serve.errors import ApiError, not_enabled
from serve.settings import RequestLimits, ServiceSettings
from serve.uploaded_images import ImageWriter

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
    """Generate and evaluate images; a repeated Idempotency-Key returns the first evaluation."""
    _require_evaluator(service)
    info, generate = await get_model(backend, body.model), body.generate
    audit.model, audit.model_sha256 = info.name, info.sha256
    _require_reference(info)
    raise_field_errors(_field_errors(generate, info, service.limits))
    audit.count, audit.seed = generate.n, generate.seed
    # An evaluation larger than the key's images per minute counts as one minute.
    cost = min(generate.n, principal.images_per_minute or generate.n)
    response.headers.update(rate_limiter.acquire(principal, cost))
    label = None if generate.label is None else resolve_label(info, generate.label)
    settings = merge_settings(generate, info)
    job = EvaluationJob(info.name, n=generate.n, label=label, seed=generate.seed, settings=settings)
    return await _submit(job, backend, principal, idempotency_key, audit, response)


@router.post("/v1/evaluations/images", status_code=202, response_model=Evaluation, openapi_extra=IMAGE_FORM)
async def submit_images(
    request: Request,
    principal: EvaluationPrincipal,
    backend: BackendDep,
    service: SettingsDep,
    audit: AuditRecordDep,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Evaluate at least two image files; ask for the evaluation until its status is succeeded or failed.

    A repeated Idempotency-Key with the same files returns the first evaluation.
    """
    _require_evaluator(service)
    with TemporaryDirectory(prefix="vapray-upload-") as folder, ImageWriter(Path(folder) / "images") as writer:
        images, name = await receive_images(request, principal, writer, service.limits)
        info = await get_model(backend, name)
        audit.model, audit.model_sha256, audit.count = info.name, info.sha256, images.count
        _require_reference(info)
        job = EvaluationJob(info.name, images)
        return await _submit(job, backend, principal, idempotency_key, audit, response)


async def _submit(
    job: EvaluationJob,
    backend: Backend,
    principal: Principal,
    idempotency_key: str | None,
    audit: AuditRecord,
    response: Response,
) -> Evaluation:
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


def _require_reference(info: ModelInfo) -> None:
    if not info.has_reference:
        problem = f"model: no real images are available for {info.name}. Use another model."
        raise ApiError(400, problem, "invalid_value", "model")


def _field_errors(generate: GenerateRequest, info: ModelInfo, limits: RequestLimits) -> Iterator[FieldError]:
    if generate.n > limits.evaluation_images:
        yield FieldError("generate.n", f"generate.n: {generate.n} images, at most {limits.evaluation_images}.")
    yield from generation_errors(generate, info, limits, "generate.")
