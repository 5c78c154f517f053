"""Answers as JSON."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from serve.backend import Evaluation
from vapray.api_keys import Scope
from vapray.config.section import Natural

__all__ = [
    "CaptionObject",
    "CaptionPage",
    "CaptionResponse",
    "ClassList",
    "ClassObject",
    "DistanceResponse",
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
    """What the service says."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, use_attribute_docstrings=True)


class ErrorDetail(ResponseModel):
    """OpenAI's error."""

    message: str
    type: Literal["invalid_request_error", "rate_limit_error", "server_error"]
    param: str | None
    code: str


class ErrorResponse(ResponseModel):
    """Every answer of 400 and above."""

    error: ErrorDetail


class InputTokens(ResponseModel):
    """Of the captions."""

    text_tokens: int
    image_tokens: int = 0


class Usage(ResponseModel):
    """What it took."""

    input_tokens: int
    """Of the captions."""
    output_tokens: int
    """Network evaluations, guidance's unconditional ones too."""
    total_tokens: int
    input_tokens_details: InputTokens


class ImageData(ResponseModel):
    """How a picture was made, and how to make it again."""

    b64_json: str
    """PNG, with its provenance in text chunks."""
    revised_prompt: str
    """The caption."""
    label: int
    class_name: Annotated[str, Field(alias="class")]
    seed: int
    bank_id: str | None
    """The entry of the bank that the caption came from."""
    model_sha256: str
    """Of the weights."""


class ImagesResponse(ResponseModel):
    """OpenAI's ``ImagesResponse``, and more."""

    created: int
    """Unix time."""
    data: list[ImageData]
    usage: Usage
    background: Literal["opaque"] = "opaque"
    output_format: Literal["png"] = "png"
    size: str
    model: str


class ModelObject(ResponseModel):
    """OpenAI's ``Model``, and more."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["vapray"] = "vapray"
    sha256: str
    classes: list[str]
    image_size: int
    defaults: dict[str, Any]
    """What holds where a request says nothing."""
    max_inference_steps: int
    has_prototypes: bool
    has_reference: bool


class ModelList(ResponseModel):
    """OpenAI's list."""

    object: Literal["list"] = "list"
    data: list[ModelObject]
    offers: list[Scope]
    """What the service offers to this key, as scopes."""


class ClassObject(ResponseModel):
    """A class of a model."""

    label: int
    class_name: Annotated[str, Field(alias="class")]


class ClassList(ResponseModel):
    """All of them."""

    object: Literal["list"] = "list"
    model: str
    data: list[ClassObject]


class CaptionObject(ResponseModel):
    """An entry of a bank."""

    id: str
    caption: str


class CaptionPage(ResponseModel):
    """Some of a class's bank."""

    object: Literal["list"] = "list"
    data: list[CaptionObject]
    has_more: bool
    total: Natural


class SampledCaption(CaptionObject):
    """The entry that a picture of this class and seed is given."""

    seed: int


class DistanceResponse(ResponseModel):
    """How far a text lies from a class's bank."""

    nearest: CaptionObject
    distance: float
    typical: float
    share_farther: float


class NeighbourObject(ResponseModel):
    """A real training picture."""

    class_name: Annotated[str, Field(alias="class")]
    distance: float
    b64_json: str


class NeighbourList(ResponseModel):
    """Nearest first."""

    object: Literal["list"] = "list"
    data: list[NeighbourObject]


class CaptionResponse(ResponseModel):
    """What a captioner says of a picture."""

    caption: str
    captioner: str


class EvaluationList(ResponseModel):
    """Newest first."""

    object: Literal["list"] = "list"
    data: list[Evaluation]


class Health(ResponseModel):
    """The HTTP side is up."""

    status: Literal["ok"] = "ok"


class Readiness(ResponseModel):
    """Whether every model has shown that it works."""

    status: Literal["ready", "not ready"]
    models: dict[str, bool]
