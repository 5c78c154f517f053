"""Route ``POST /v1/images/generations``, compatible with OpenAI."""

import asyncio
import time
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response, Security

from serve.api.authentication import Principal
from serve.api.dependencies import AuditRecordDep, BackendDep, RateLimiterDep, SettingsDep, get_model, require_scopes
from serve.api.error_responses import ERROR_RESPONSES
from serve.api.image_events import EVENTS, EventStream
from serve.api.image_jobs import build_image_jobs, resolve_seed
from serve.api.image_responses import to_image_data, token_usage
from serve.api.requests import ImageGenerationRequest
from serve.api.responses import ImagesResponse
from serve.api.strict_route import StrictRoute
from serve.backend import Backend, ImageJob, ImageResult
from serve.errors import ApiError

__all__ = ["IdempotencyKey", "router"]

router = APIRouter(route_class=StrictRoute, responses=ERROR_RESPONSES, tags=["images"])

IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255)]


@router.post("/v1/images/generations", response_model=ImagesResponse, responses=EVENTS)
async def generate(
    body: ImageGenerationRequest,
    principal: Annotated[Principal, Security(require_scopes, scopes=["images"])],
    backend: BackendDep,
    service: SettingsDep,
    rate_limiter: RateLimiterDep,
    audit: AuditRecordDep,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Generate images. The same Idempotency-Key gives the same seeds, and so the same images."""
    info = await get_model(backend, body.model)
    audit.model, audit.model_sha256, audit.count = info.name, info.sha256, body.n
    seed = resolve_seed(body.seed, idempotency_key, principal.id)
    jobs = build_image_jobs(body, info, service.limits, seed=seed, request_id=audit.request)
    audit.seed = seed
    headers = rate_limiter.acquire(principal, body.n)
    size = f"{info.image_size}x{info.image_size}"
    if body.stream:
        return EventStream([backend.image_stream(job) for job in jobs], jobs, size, headers)
    results = await _generate_all(backend, jobs)
    response.headers.update(headers)
    return ImagesResponse(
        created=int(time.time()),
        data=[to_image_data(result) for result in results],
        usage=token_usage(results),
        size=size,
        model=info.name,
    )


async def _generate_all(backend: Backend, jobs: Sequence[ImageJob]) -> list[ImageResult]:
    """Generate images concurrently; the first failure cancels the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(backend.image(job)) for job in jobs]
    except ExceptionGroup as failures:
        reported = failures.subgroup(ApiError)
        raise (reported or failures).exceptions[0] from None
    return [task.result() for task in tasks]
