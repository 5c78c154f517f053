"""The whole HTTP side of a service."""

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from serve.api import bank, evaluations, health, image_queries, images, models
from serve.api.authentication import ApiKeyMiddleware
from serve.api.error_responses import handle_api_error, handle_http_error
from serve.api.principals import ApiKeyStore
from serve.api.rate_limit import RateLimiter
from serve.api.request_body import RequestBodyMiddleware
from serve.api.request_context import RequestContextMiddleware
from serve.api.studio import add_studio
from serve.backend import Backend
from serve.errors import ApiError
from serve.settings import ServiceSettings
from vapray import __version__

__all__ = ["create_app"]


def create_app(backend: Backend, settings: ServiceSettings, *, add_request_id: bool = True) -> FastAPI:
    """An ASGI application.

    Args:
        backend: whatever computes.
        settings: of the service; ``api_keys_file``, ``limits``, ``studio``, ``openapi`` and what is offered count here.
        add_request_id: put ``x-request-id`` on answers; Serve's proxy does so by itself.

    Raises:
        ConfigError: a file of keys that cannot be used.
    """
    app = FastAPI(
        title="vapray",
        version=__version__,
        description="Synthetic medical images. Not for clinical use.",
        openapi_url="/openapi.json" if settings.openapi else None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.backend, app.state.service, app.state.rate_limiter = backend, settings, RateLimiter()
    for room in (images, models, bank, image_queries, evaluations, health):
        app.include_router(room.router)
    if settings.studio:
        add_studio(app)
    app.add_exception_handler(ApiError, handle_api_error)
    app.add_exception_handler(HTTPException, handle_http_error)
    app.add_middleware(RequestBodyMiddleware, limits=settings.limits)
    app.add_middleware(
        ApiKeyMiddleware, keys=ApiKeyStore(settings.api_keys_file), has_keys=settings.api_keys_file is not None
    )
    app.add_middleware(RequestContextMiddleware, add_request_id=add_request_id)  # the last one added lies outermost
    return app
