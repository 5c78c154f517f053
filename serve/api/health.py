"""Routes ``/healthz``, ``/readyz`` and ``/metrics``."""

from typing import Any

from fastapi import APIRouter, Response, Security
from fastapi.responses import PlainTextResponse

from serve.api.dependencies import BackendDep, require_scopes
from serve.api.error_responses import ERROR_RESPONSES
from serve.api.responses import Health, Readiness
from serve.api.strict_route import StrictRoute

__all__ = ["router"]

router = APIRouter(route_class=StrictRoute, tags=["health"])


@router.get("/healthz", response_model=Health)
async def healthz() -> Any:
    """Report that the HTTP API is running."""
    return Health()


@router.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness}})
async def readyz(backend: BackendDep, response: Response) -> Any:
    """Report whether every model has generated an image since its deployment; starts no replica."""
    models = await backend.ready()
    ready = all(models.values())
    response.status_code = 200 if ready else 503
    return Readiness(status="ready" if ready else "not ready", models=models)


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses=ERROR_RESPONSES,
    dependencies=[Security(require_scopes, scopes=["metrics"])],
)
async def metrics(backend: BackendDep) -> PlainTextResponse:
    """Export metrics for Prometheus."""
    return PlainTextResponse(await backend.metrics(), media_type="text/plain; version=0.0.4")
