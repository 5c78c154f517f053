"""Route class with strict JSON parsing and OpenAI's error format."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel

from serve.api.field_errors import field_errors, raise_field_errors
from serve.api.strict_json import parse_object
from serve.errors import ApiError

__all__ = ["StrictRoute"]


class StrictRoute(APIRoute):
    """FastAPI route with a strict body parser."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler."""
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            request = _StrictRequest(request.scope, request.receive)
            if self.body_field:
                _require_json(request.headers.get("content-type", ""))
                await request.json()
            try:
                return await handle(request)
            except RequestValidationError as error:
                raise_field_errors(field_errors(error.errors(), self._models()))
                raise

        return handle_strictly

    def _models(self) -> dict[str, type[BaseModel]]:
        fields = {"query": self.dependant.query_params, "body": [self.body_field] if self.body_field else []}
        return {
            place: model
            for place, found in fields.items()
            for field in found
            if isinstance(model := field.field_info.annotation, type) and issubclass(model, BaseModel)
        }


class _StrictRequest(Request):
    async def json(self) -> Any:
        if not hasattr(self, "_object"):
            self._object = parse_object(await self.body())
        return self._object


def _require_json(content_type: str) -> None:
    """Require JSON; this also blocks forms of foreign pages, which a service without keys would accept."""
    if content_type.split(";")[0].strip().lower() != "application/json":
        shown = f"is {content_type[:64]!r}" if content_type else "is missing"
        raise ApiError(415, f"Content-Type {shown}. Send application/json.", "unsupported_media_type")
