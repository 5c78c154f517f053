"""Questions about a picture: the training images nearest to it, and a caption for it."""

import binascii
from base64 import b64decode, b64encode
from typing import Any

from fastapi import APIRouter, Security

from serve.api.dependencies import AskedBackend, AskedService, allow, model_card
from serve.api.error_responses import ERRORS
from serve.api.requests import CaptionRequest, NeighboursRequest
from serve.api.responses import DescriptionAnswer, NeighbourAnswer, NeighbourList
from serve.api.strict_route import StrictRoute
from serve.errors import ApiError

__all__ = ["picture_of", "router"]

router = APIRouter(route_class=StrictRoute, responses=ERRORS, tags=["pictures"])


@router.post("/v1/neighbours", response_model=NeighbourList, dependencies=[Security(allow, scopes=["neighbours"])])
async def neighbours(asked: NeighboursRequest, backend: AskedBackend, service: AskedService) -> Any:
    """The real training images nearest to a picture."""
    if not service.show_training_images:
        raise _not_enabled("show_training_images")
    card = await model_card(backend, asked.model)
    found = await backend.neighbours(card.name, picture_of(asked.image, "image"), asked.k)
    data = [
        NeighbourAnswer(class_name=one.class_name, distance=one.distance, b64_json=b64encode(one.png).decode())
        for one in found
    ]
    return NeighbourList(data=data)


@router.post("/v1/captions", response_model=DescriptionAnswer, dependencies=[Security(allow, scopes=["captions"])])
async def describe(asked: CaptionRequest, backend: AskedBackend, service: AskedService) -> Any:
    """A caption for a picture."""
    if service.captioner is None:
        raise _not_enabled("captioner")
    card = await model_card(backend, asked.model)
    found = await backend.describe(card.name, picture_of(asked.image, "image"))
    return DescriptionAnswer(caption=found.caption, captioner=found.captioner)


def picture_of(text: str, param: str) -> bytes:
    """The bytes behind base64.

    Raises:
        ApiError: 400.
    """
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ApiError(400, f"{param}: not base64. Send a picture file in base64.", "invalid_base64", param) from None


def _not_enabled(setting: str) -> ApiError:
    return ApiError(404, f"This service does not offer it: its setting {setting} is off.", "not_enabled")
