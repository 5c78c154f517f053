"""Requests as JSON; what only a model can judge is judged in ``jobs``."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from vapray.config.section import Section
from vapray.sampling.generated import Prototypes

__all__ = [
    "MAX_IMAGES",
    "MAX_SEED",
    "BankQuery",
    "CaptionRequest",
    "DistanceRequest",
    "DrawQuery",
    "EvaluationRequest",
    "GenerateRequest",
    "ImageGenerationRequest",
    "ModelQuery",
    "NeighboursRequest",
]

MAX_IMAGES = 10
MAX_SEED = 2**63 - 1001
"""Of any picture, as the sampler has it."""

Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
GuidanceScale = Annotated[float, Field(ge=0, le=100)]
Steps = Annotated[int, Field(ge=1, le=999)]
ModelName = Annotated[str, Field(min_length=1, max_length=64)]
Base64 = Annotated[str, Field(min_length=1, json_schema_extra={"contentEncoding": "base64"})]


class ImageGenerationRequest(Section):
    """Of ``POST /v1/images/generations``: OpenAI's fields, and below them ours."""

    prompt: Annotated[str, Field(min_length=1)] | None = None
    """A caption; or the name of a class, for which one is drawn from its bank."""
    model: ModelName | None = None
    """Default: the service's first."""
    n: Annotated[int, Field(ge=1, le=MAX_IMAGES)] = 1
    """Images, with consecutive seeds."""
    size: Annotated[str, Field(pattern=r"^(auto|[0-9]{1,5}x[0-9]{1,5})$")] = "auto"
    """The one that the model has."""
    output_format: Literal["png"] = "png"
    response_format: Literal["b64_json"] = "b64_json"
    quality: Literal["auto"] = "auto"
    background: Literal["auto"] = "auto"
    moderation: Literal["auto"] = "auto"
    user: Annotated[str, Field(max_length=256)] | None = None
    """Accepted and not kept."""
    stream: bool = False
    """Answer with server-sent events."""
    partial_images: Annotated[int, Field(ge=0, le=3)] = 0
    """Of each image, in a stream."""
    label: Annotated[int | str, Field(union_mode="left_to_right")] | None = None
    """Class, by name or number; null: the one that the caption names, or whose bank lies nearest to it."""
    bank: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """Instead of a prompt: ``draw`` one of the class's captions by the seed, or the id of an entry of the bank."""
    seed: Seed | None = None
    """Of the first image; null: from the header Idempotency-Key, otherwise at random."""
    guidance_scale: GuidanceScale | None = None
    num_inference_steps: Steps | None = None
    solver: Literal["dpm_solver_2m", "ddim"] | None = None
    prototypes: Prototypes = "on"
    """Bypassed: the prototype condition is left out."""
    deadline_seconds: Annotated[float, Field(gt=0)] | None = None
    """By when all has to be finished."""


class DistanceRequest(Section):
    """Of ``POST /v1/bank/{class}/distance``."""

    caption: Annotated[str, Field(min_length=1)]
    model: ModelName | None = None


class NeighboursRequest(Section):
    """Of ``POST /v1/neighbours``."""

    image: Base64
    """A picture file."""
    k: Annotated[int, Field(ge=1, le=10)] = 5
    model: ModelName | None = None


class CaptionRequest(Section):
    """Of ``POST /v1/captions``."""

    image: Base64
    """A picture file."""
    model: ModelName | None = None


class GenerateRequest(Section):
    """Pictures to generate for an evaluation; captions are drawn from the bank."""

    n: Annotated[int, Field(ge=2)]
    label: Annotated[int | str, Field(union_mode="left_to_right")] | None = None
    """null: classes in proportion to the training images."""
    seed: Seed = 0
    guidance_scale: GuidanceScale | None = None
    num_inference_steps: Steps | None = None
    prototypes: Prototypes = "on"


class EvaluationRequest(Section):
    """Of ``POST /v1/evaluations``: either pictures, or how to generate them."""

    images: Annotated[list[Base64], Field(min_length=2, fail_fast=True)] | None = None
    """Picture files."""
    generate: GenerateRequest | None = None
    model: ModelName | None = None


class QueryParams(BaseModel):
    """A query: numbers come as text."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    model: ModelName | None = None
    """Default: the service's first."""


class ModelQuery(QueryParams):
    """Of ``GET /v1/classes``."""


class BankQuery(QueryParams):
    """Of ``GET /v1/bank/{class}``."""

    limit: Annotated[int, Field(ge=1, le=100)] = 20
    after: Annotated[str, Field(max_length=128)] | None = None
    """Id of the last entry of the page before."""


class DrawQuery(QueryParams):
    """Of ``GET /v1/bank/{class}/draw``."""

    seed: Seed | None = None
