"""Routes ``/v1/neighbours`` and ``/v1/captions``: queries with an uploaded image."""

import binascii
from base64 import b64decode, b64encode
from typing import Any

from fastapi import APIRouter, Security

from serve.api.dependencies import BackendDep, SettingsDep, get_model, require_scopes
from serve.api.error_responses import ERROR_RESPONSES
from serve.api.requests import CaptionRequest, NeighboursRequest
from serve.api.responses import NeighbourList, NeighbourObject
from serve.api.strict_route import StrictRoute
from serve.backend import CaptionResult
from serve.errors import ApiError, not_enabled

__all__ = ["decode_base64", "router"]

router = APIRouter(route_class=StrictRoute, responses=ERROR_RESPONSES, tags=["image queries"])


@router.post(
    "/v1/neighbours", response_model=NeighbourList, dependencies=[Security(require_scopes, scopes=["neighbours"])]
)
async def neighbours(body: NeighboursRequest, backend: BackendDep, service: SettingsDep) -> Any:
    """Find the real training images nearest to an image."""
    if not service.show_training_images:
        raise not_enabled("show_training_images")
    info = await get_model(backend, body.model)
    found = await backend.neighbours(info.name, decode_base64(body.image, "image"), body.k)
    data = [
        NeighbourObject(class_name=one.class_name, distance=one.distance, b64_json=b64encode(one.png).decode())
        for one in found
    ]
    return NeighbourList(data=data)


@router.post("/v1/captions", response_model=CaptionResult, dependencies=[Security(require_scopes, scopes=["captions"])])
async def caption(body: CaptionRequest, backend: BackendDep, service: SettingsDep) -> Any:
    """Caption an image."""
    if service.captioner is None:
        raise not_enabled("captioner")
    info = await get_model(backend, body.model)
    return await backend.caption(info.name, decode_base64(body.image, "image"))


def decode_base64(text: str, param: str) -> bytes:
    """Decode base64, also with line breaks or in a data: URL.

    Raises:
        ApiError: 400.
    """
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ApiError(400, f"{param}: not base64. Send an image file in base64.", "invalid_base64", param) from None
