"""The whole HTTP side of a service."""

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from serve.api import bank, evaluations, health, image_queries, images, models
from serve.api.authentication import Door
from serve.api.error_responses import on_api_error, on_http_error
from serve.api.principals import Owners
from serve.api.rate_limit import Rates
from serve.api.request_body import Upload
from serve.api.request_context import Envelope
from serve.api.studio import add_studio
from serve.backend import Backend
from serve.errors import ApiError
from serve.settings import Service
from vapray import __version__

__all__ = ["build_api"]


def build_api(backend: Backend, settings: Service, *, names_answers: bool = True) -> FastAPI:
    """An ASGI application.

    Args:
        backend: whatever computes.
        settings: of the service; ``keys``, ``limits``, ``studio``, ``docs`` and what is offered count here.
        names_answers: put ``x-request-id`` on answers; Serve's proxy does so by itself.

    Raises:
        ConfigError: a file of keys that cannot be used.
    """
    app = FastAPI(
        title="vapray",
        version=__version__,
        description="Synthetic medical images. Not for clinical use.",
        openapi_url="/openapi.json" if settings.docs else None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.backend, app.state.service, app.state.rates = backend, settings, Rates()
    for room in (images, models, bank, image_queries, evaluations, health):
        app.include_router(room.router)
    if settings.studio:
        add_studio(app)
    app.add_exception_handler(ApiError, on_api_error)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_middleware(Upload, limits=settings.limits)
    app.add_middleware(Door, owners=Owners(settings.keys), has_keys=settings.keys is not None)
    app.add_middleware(Envelope, names_answers=names_answers)  # the last one added lies outermost
    return app
