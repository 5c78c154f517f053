"""FastAPI application of the service."""

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from serve.api import bank, evaluations, health, image_queries, images, models
from serve.api.authentication import ApiKeyMiddleware, ApiKeyStore
from serve.api.error_responses import handle_api_error, handle_http_error
from serve.api.key_windows import KeyWindows
from serve.api.rate_limit import RateLimiter
from serve.api.request_body import RequestBodyMiddleware
from serve.api.request_context import RequestContextMiddleware
from serve.api.studio import add_studio
from serve.backend import Backend
from serve.errors import ApiError
from serve.image_links import ImageLinks
from serve.settings import ServiceSettings
from vapray import __version__

__all__ = ["create_app"]


def create_app(backend: Backend, settings: ServiceSettings, *, add_request_id: bool = True) -> FastAPI:
    """Create the ASGI application.

    Args:
        backend: Computation behind the API.
        settings: Settings of the service; API keys, limits, and enabled features apply here.
        add_request_id: Add ``x-request-id`` to responses; Ray Serve's proxy adds it itself.

    Raises:
        ConfigError: The file of API keys is invalid.
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
    app.state.windows = KeyWindows(settings.limits)
    app.state.links = ImageLinks(settings.state_dir, settings.links)
    for module in (images, models, bank, image_queries, evaluations, health):
        app.include_router(module.router)
    if settings.studio:
        add_studio(app)
    app.add_exception_handler(ApiError, handle_api_error)
    app.add_exception_handler(HTTPException, handle_http_error)
    app.add_middleware(RequestBodyMiddleware, limits=settings.limits)
    app.add_middleware(ApiKeyMiddleware, keys=ApiKeyStore(settings.api_keys_file))
    app.add_middleware(RequestContextMiddleware, add_request_id=add_request_id)  # the outermost one is added last
    return app
