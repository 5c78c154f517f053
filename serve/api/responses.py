"""Response models."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from serve.backend import BankEntryInfo, Evaluation
from vapray.config.section import NonNegativeInt
from vapray.service.api_keys import Scope

__all__ = [
    "CaptionPage",
    "ClassList",
    "ClassObject",
    "DeletedEvaluation",
    "ErrorResponse",
    "EvaluationList",
    "Health",
    "ImageData",
    "ImagesResponse",
    "InputTokens",
    "ModelList",
    "ModelObject",
    "NeighbourList",
    "NeighbourObject",
    "Readiness",
    "SampledCaption",
    "Usage",
]


class ResponseModel(BaseModel):
    """Base of all response models."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, use_attribute_docstrings=True)


class ErrorDetail(ResponseModel):
    """Error in OpenAI's format."""

    message: str
    type: Literal["invalid_request_error", "rate_limit_error", "server_error"]
    param: str | None
    code: str


class ErrorResponse(ResponseModel):
    """Body of responses with status 400 and above."""

    error: ErrorDetail


class InputTokens(ResponseModel):
    """Tokens of the captions."""

    text_tokens: int
    image_tokens: int = 0


class Usage(ResponseModel):
    """Token usage."""

    input_tokens: int
    """Tokens of the captions."""
    output_tokens: int
    """Network evaluations, including the unconditional ones of guidance."""
    total_tokens: int
    input_tokens_details: InputTokens


class ImageData(ResponseModel):
    """Image with the settings that reproduce it."""

    b64_json: str | None = None
    """Image file in base64."""
    url: str | None = None
    """URL of the image file, until it expires."""
    revised_prompt: str
    """Caption of the image."""
    label: int
    class_name: Annotated[str, Field(alias="class")]
    seed: int
    bank_id: str | None
    """Bank entry of the caption."""
    model_sha256: str
    """Hash of the weights."""


class ImagesResponse(ResponseModel):
    """OpenAI's ``ImagesResponse`` with more fields."""

    created: int
    """Unix time."""
    data: list[ImageData]
    usage: Usage
    background: Literal["opaque"] = "opaque"
    output_format: Literal["png", "jpeg", "webp"] = "png"
    size: str
    """Size of the images, also if another one was requested."""
    model: str


class ModelObject(ResponseModel):
    """OpenAI's ``Model`` with more fields."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["vapray"] = "vapray"
    sha256: str
    aliases: list[str]
    """Further ids of the model."""
    classes: list[str]
    image_size: int
    defaults: dict[str, Any]
    """Defaults of a request."""
    max_inference_steps: int
    has_prototypes: bool
    has_reference: bool


class ModelList(ResponseModel):
    """List of models."""

    object: Literal["list"] = "list"
    data: list[ModelObject]
    offers: list[Scope]
    """Scopes that are enabled in the service and granted to the key."""


class ClassObject(ResponseModel):
    """Class of a model."""

    label: int
    class_name: Annotated[str, Field(alias="class")]


class ClassList(ResponseModel):
    """List of classes."""

    object: Literal["list"] = "list"
    model: str
    data: list[ClassObject]


class CaptionPage(ResponseModel):
    """Page of the captions of a class."""

    object: Literal["list"] = "list"
    data: list[BankEntryInfo]
    has_more: bool
    total: NonNegativeInt


class SampledCaption(ResponseModel):
    """Bank entry drawn for a class and seed."""

    id: str
    caption: str
    seed: int


class NeighbourObject(ResponseModel):
    """Real training image."""

    class_name: Annotated[str, Field(alias="class")]
    distance: float
    b64_json: str


class NeighbourList(ResponseModel):
    """Training images, nearest first."""

    object: Literal["list"] = "list"
    data: list[NeighbourObject]


class EvaluationList(ResponseModel):
    """Evaluations, newest first."""

    object: Literal["list"] = "list"
    data: list[Evaluation]


class DeletedEvaluation(ResponseModel):
    """Answer to the deletion of an evaluation."""

    id: str
    object: Literal["evaluation.deleted"] = "evaluation.deleted"
    deleted: Literal[True] = True


class Health(ResponseModel):
    """Status of the HTTP API."""

    status: Literal["ok"] = "ok"


class Readiness(ResponseModel):
    """Readiness of the models."""

    status: Literal["ready", "not ready"]
    models: dict[str, bool]
