"""Answers as JSON."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from serve.backend import Evaluation
from vapray.api_keys import Scope
from vapray.config.section import Natural

__all__ = [
    "CaptionAnswer",
    "CaptionPage",
    "ClassAnswer",
    "ClassList",
    "DescriptionAnswer",
    "DistanceAnswer",
    "DrawnCaption",
    "ErrorAnswer",
    "EvaluationList",
    "Health",
    "ImageFacts",
    "ImagesAnswer",
    "InputTokens",
    "ModelAnswer",
    "ModelList",
    "NeighbourAnswer",
    "NeighbourList",
    "Readiness",
    "Usage",
]


class Answer(BaseModel):
    """What the service says."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, use_attribute_docstrings=True)


class ErrorText(Answer):
    """OpenAI's error."""

    message: str
    type: Literal["invalid_request_error", "rate_limit_error", "server_error"]
    param: str | None
    code: str


class ErrorAnswer(Answer):
    """Every answer of 400 and above."""

    error: ErrorText


class InputTokens(Answer):
    """Of the captions."""

    text_tokens: int
    image_tokens: int = 0


class Usage(Answer):
    """What it took."""

    input_tokens: int
    """Of the captions."""
    output_tokens: int
    """Network evaluations, guidance's unconditional ones too."""
    total_tokens: int
    input_tokens_details: InputTokens


class ImageFacts(Answer):
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


class ImagesAnswer(Answer):
    """OpenAI's ``ImagesResponse``, and more."""

    created: int
    """Unix time."""
    data: list[ImageFacts]
    usage: Usage
    background: Literal["opaque"] = "opaque"
    output_format: Literal["png"] = "png"
    size: str
    model: str


class ModelAnswer(Answer):
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


class ModelList(Answer):
    """OpenAI's list."""

    object: Literal["list"] = "list"
    data: list[ModelAnswer]
    offers: list[Scope]
    """What the service offers to this key, as scopes."""


class ClassAnswer(Answer):
    """A class of a model."""

    label: int
    class_name: Annotated[str, Field(alias="class")]


class ClassList(Answer):
    """All of them."""

    object: Literal["list"] = "list"
    model: str
    data: list[ClassAnswer]


class CaptionAnswer(Answer):
    """An entry of a bank."""

    id: str
    caption: str


class CaptionPage(Answer):
    """Some of a class's bank."""

    object: Literal["list"] = "list"
    data: list[CaptionAnswer]
    has_more: bool
    total: Natural


class DrawnCaption(CaptionAnswer):
    """The entry that a picture of this class and seed is given."""

    seed: int


class DistanceAnswer(Answer):
    """How far a text lies from a class's bank."""

    nearest: CaptionAnswer
    distance: float
    typical: float
    share_farther: float


class NeighbourAnswer(Answer):
    """A real training picture."""

    class_name: Annotated[str, Field(alias="class")]
    distance: float
    b64_json: str


class NeighbourList(Answer):
    """Nearest first."""

    object: Literal["list"] = "list"
    data: list[NeighbourAnswer]


class DescriptionAnswer(Answer):
    """What a captioner says of a picture."""

    caption: str
    captioner: str


class EvaluationList(Answer):
    """Newest first."""

    object: Literal["list"] = "list"
    data: list[Evaluation]


class Health(Answer):
    """The HTTP side is up."""

    status: Literal["ok"] = "ok"


class Readiness(Answer):
    """Whether every model has shown that it works."""

    status: Literal["ready", "not ready"]
    models: dict[str, bool]
