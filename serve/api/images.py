"""Routes ``POST /v1/images/generations``, compatible with OpenAI, and ``GET /v1/images/links/{name}``."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response, Security

from serve.api.authentication import Principal
from serve.api.dependencies import (
    AuditRecordDep,
    BackendDep,
    LinksDep,
    RateLimiterDep,
    SettingsDep,
    WindowsDep,
    get_model,
    require_scopes,
)
from serve.api.error_responses import ERROR_RESPONSES
from serve.api.image_events import EVENTS, EventStream
from serve.api.image_formats import MEDIA_TYPES, ImageFormat
from serve.api.image_jobs import build_image_jobs, resolve_seed
from serve.api.image_responses import ImageEncoder, token_usage
from serve.api.key_windows import KeyWindows
from serve.api.requests import ImageGenerationRequest
from serve.api.responses import ImagesResponse
from serve.api.strict_route import StrictRoute
from serve.backend import Backend, ImageJob, ImageResult, PartialImage
from serve.errors import ApiError
from serve.image_links import ImageLinks

__all__ = ["IdempotencyKey", "router"]

router = APIRouter(route_class=StrictRoute, responses=ERROR_RESPONSES, tags=["images"])

LINKS = "/v1/images/links/"
IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255)]


@router.post("/v1/images/generations", response_model=ImagesResponse, responses=EVENTS)
async def generate(
    body: ImageGenerationRequest,
    principal: Annotated[Principal, Security(require_scopes, scopes=["images"])],
    backend: BackendDep,
    service: SettingsDep,
    rate_limiter: RateLimiterDep,
    audit: AuditRecordDep,
    links: LinksDep,
    windows: WindowsDep,
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Generate images. The same Idempotency-Key gives the same seeds, and so the same images."""
    info = await get_model(backend, body.model)
    audit.model, audit.model_sha256, audit.count = info.name, info.sha256, body.n
    seed = resolve_seed(body.seed, idempotency_key, principal.id)
    jobs = build_image_jobs(body, info, service.limits, seed=seed, request_id=audit.request, owner=principal.id)
    audit.seed = seed
    headers = rate_limiter.acquire(principal, body.n)
    size = f"{info.image_size}x{info.image_size}"
    if body.stream:
        streams = [_stream(backend, job, windows) for job in jobs]
        return EventStream(streams, jobs, size, headers, ImageEncoder.of(body))
    results = await _generate_all(backend, jobs, windows)
    response.headers.update(headers)
    link = _linker(links, service.links.base_url or str(request.base_url)) if _wants_urls(body) else None
    encoder = ImageEncoder.of(body, link)
    return ImagesResponse(
        created=int(time.time()),
        data=await asyncio.gather(*(encoder.encode(result) for result in results)),
        usage=token_usage(results),
        output_format=body.output_format,
        size=size,
        model=info.name,
    )


@router.get(
    LINKS + "{name}",
    response_class=Response,
    responses={200: {"content": {kind: {} for kind in MEDIA_TYPES.values()}, "description": "The image file."}},
)
async def linked(name: str, links: LinksDep) -> Response:
    """Get an image of a response with URLs; no key is needed."""
    data, suffix = await asyncio.to_thread(links.get, name)
    # Pages of other origins may show it; all other responses are for the service's own.
    return Response(data, media_type=f"image/{suffix}", headers={"cross-origin-resource-policy": "cross-origin"})


def _wants_urls(body: ImageGenerationRequest) -> bool:
    """Return whether a response has URLs: OpenAI's dall-e models have them unless a request asks for base64."""
    if body.response_format is None:
        return body.model is not None and body.model.startswith("dall-e")
    return body.response_format == "url"


def _linker(links: ImageLinks, base_url: str) -> Callable[[bytes, ImageFormat], str]:
    return lambda file, kind: f"{base_url.rstrip('/')}{LINKS}{links.add(file, kind)}"


async def _generate_all(backend: Backend, jobs: Sequence[ImageJob], windows: KeyWindows) -> list[ImageResult]:
    """Generate images concurrently; the first failure cancels the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_generate(backend, job, windows)) for job in jobs]
    except ExceptionGroup as failures:
        reported = failures.subgroup(ApiError)
        raise (reported or failures).exceptions[0] from None
    return [task.result() for task in tasks]


async def _generate(backend: Backend, job: ImageJob, windows: KeyWindows) -> ImageResult:
    async with windows.place(job.owner, job.deadline):
        return await backend.image(job)


async def _stream(
    backend: Backend, job: ImageJob, windows: KeyWindows
) -> AsyncGenerator[PartialImage | ImageResult, None]:
    async with windows.place(job.owner, job.deadline), contextlib.aclosing(backend.image_stream(job)) as stream:
        async for event in stream:
            yield event
