"""``/v1/evaluations``: sets of pictures are measured in the background."""

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Response, Security

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
from serve.api.principals import Principal
from serve.api.requests import EvaluationRequest
from serve.api.responses import EvaluationList
from serve.api.strict_route import StrictRoute
from serve.backend import Evaluation, EvaluationJob, ModelInfo
from serve.errors import ApiError
from serve.settings import RequestLimits, ServiceSettings

__all__ = ["router"]

router = APIRouter(route_class=StrictRoute, responses=ERROR_RESPONSES, tags=["evaluations"])

Measurer = Annotated[Principal, Security(require_scopes, scopes=["evaluations"])]


@router.post("/v1/evaluations", status_code=202, response_model=Evaluation)
async def submit(
    body: EvaluationRequest,
    principal: Measurer,
    backend: BackendDep,
    service: SettingsDep,
    rate_limiter: RateLimiterDep,
    audit: AuditRecordDep,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Measure a set of pictures; the same Idempotency-Key gives the evaluation that the first request began."""
    _require_evaluator(service)
    info = await get_model(backend, body.model)
    audit.model, audit.model_sha256 = info.name, info.sha256
    raise_field_errors([*_problems(body, info, service.limits)])
    job = _job(body, info)
    audit.count = job.n or len(job.images)
    if job.n:
        audit.seed = job.seed
        # A large one takes all that the key may have in a minute; it could never have its number.
        response.headers.update(rate_limiter.acquire(principal, min(job.n, principal.images_per_minute or job.n)))
    evaluation = await backend.submit_evaluation(job, principal.id, idempotency_key)
    audit.evaluation = evaluation.id
    response.headers["location"] = f"/v1/evaluations/{evaluation.id}"
    return evaluation


@router.get("/v1/evaluations", response_model=EvaluationList)
async def evaluations(principal: Measurer, backend: BackendDep, service: SettingsDep) -> Any:
    """The key's own, newest first."""
    _require_evaluator(service)
    return EvaluationList(data=[*await backend.evaluations(principal.id)])


@router.get("/v1/evaluations/{id}", response_model=Evaluation)
async def evaluation(id: str, principal: Measurer, backend: BackendDep, service: SettingsDep) -> Any:
    """Where one stands."""
    _require_evaluator(service)
    return await backend.evaluation(id, principal.id)


def _require_evaluator(service: ServiceSettings) -> None:
    if service.evaluator is None:
        raise ApiError(404, "This service does not offer it: its setting evaluator is off.", "not_enabled")


def _job(body: EvaluationRequest, info: ModelInfo) -> EvaluationJob:
    if (wanted := body.generate) is None:
        images = tuple(decode_base64(text, f"images.{index}") for index, text in enumerate(body.images or ()))
        return EvaluationJob(info.name, images)
    return EvaluationJob(
        info.name,
        n=wanted.n,
        label=None if wanted.label is None else resolve_label(info, wanted.label),
        seed=wanted.seed,
        settings=merge_settings(wanted, info),
    )


def _problems(body: EvaluationRequest, info: ModelInfo, limits: RequestLimits) -> Iterator[FieldError]:
    if (body.images is None) == (body.generate is None):
        found = "neither is there" if body.images is None else "both are there"
        yield FieldError("images", f"images, generate: {found}. Give pictures, or how to generate them.")
    if not info.has_reference:
        yield FieldError("model", f"model: {info.name} has no real pictures to measure against. Name another one.")
    n = len(body.images or ()) or (body.generate.n if body.generate else 0)
    if n > limits.evaluation_images:
        where = "images" if body.images else "generate.n"
        yield FieldError(where, f"{where}: {n} pictures, at most {limits.evaluation_images}.")
    if body.generate is not None:
        yield from generation_errors(body.generate, info, limits, "generate.")
