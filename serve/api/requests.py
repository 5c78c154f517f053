"""Request models; checks that depend on the model are in ``image_jobs``."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from vapray.config.section import ConfigSection
from vapray.diffusion.solver import SolverName
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
"""Maximum seed of the sampler."""

Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
GuidanceScale = Annotated[float, Field(ge=0, le=100)]
Steps = Annotated[int, Field(ge=1, le=999)]
ModelName = Annotated[str, Field(min_length=1, max_length=64)]
Base64 = Annotated[str, Field(min_length=1, json_schema_extra={"contentEncoding": "base64"})]


class ImageGenerationRequest(ConfigSection):
    """Body of ``POST /v1/images/generations``: OpenAI's fields, then those of this service."""

    prompt: Annotated[str, Field(min_length=1)] | None = None
    """Caption, or the name of a class, for which a caption is drawn from its bank."""
    model: ModelName | None = None
    """Model id; default: the first model of the service."""
    n: Annotated[int, Field(ge=1, le=MAX_IMAGES)] = 1
    """Number of images, with consecutive seeds."""
    size: Annotated[str, Field(pattern=r"^(auto|[0-9]{1,5}x[0-9]{1,5})$")] = "auto"
    """Image size of the model, or auto."""
    output_format: Literal["png"] = "png"
    response_format: Literal["b64_json"] = "b64_json"
    quality: Literal["auto"] = "auto"
    background: Literal["auto"] = "auto"
    moderation: Literal["auto"] = "auto"
    user: Annotated[str, Field(max_length=256)] | None = None
    """Accepted for compatibility; not stored."""
    stream: bool = False
    """Respond with server-sent events."""
    partial_images: Annotated[int, Field(ge=0, le=3)] = 0
    """Number of previews per image, in a stream."""
    label: Annotated[int | str, Field(union_mode="left_to_right")] | None = None
    """Class name or number; null: the class named in the caption, or the class with the nearest bank."""
    bank: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """Replacement of the prompt: ``draw`` draws a caption of the class by the seed; otherwise a bank entry id."""
    seed: Seed | None = None
    """Seed of the first image; null: derived from the header Idempotency-Key, or random without it."""
    guidance_scale: GuidanceScale | None = None
    num_inference_steps: Steps | None = None
    solver: SolverName | None = None
    prototypes: Prototypes = "on"
    """``bypassed`` disables the prototype condition."""
    deadline_seconds: Annotated[float, Field(gt=0)] | None = None
    """Seconds within which all images have to be finished."""


class DistanceRequest(ConfigSection):
    """Body of ``POST /v1/bank/{class}/distance``."""

    caption: Annotated[str, Field(min_length=1)]
    model: ModelName | None = None


class NeighboursRequest(ConfigSection):
    """Body of ``POST /v1/neighbours``."""

    image: Base64
    """Image file in base64."""
    k: Annotated[int, Field(ge=1, le=10)] = 5
    model: ModelName | None = None


class CaptionRequest(ConfigSection):
    """Body of ``POST /v1/captions``."""

    image: Base64
    """Image file in base64."""
    model: ModelName | None = None


class GenerateRequest(ConfigSection):
    """Images to generate for an evaluation; captions are drawn from the bank."""

    n: Annotated[int, Field(ge=2)]
    label: Annotated[int | str, Field(union_mode="left_to_right")] | None = None
    """Class name or number; null: classes in proportion to the training images."""
    seed: Seed = 0
    guidance_scale: GuidanceScale | None = None
    num_inference_steps: Steps | None = None
    prototypes: Prototypes = "on"


class EvaluationRequest(ConfigSection):
    """Body of ``POST /v1/evaluations``: either images, or settings to generate them."""

    images: Annotated[list[Base64], Field(min_length=2, fail_fast=True)] | None = None
    """Image files in base64."""
    generate: GenerateRequest | None = None
    model: ModelName | None = None


class QueryParams(BaseModel):
    """Query parameters; numbers arrive as text."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    model: ModelName | None = None
    """Model id; default: the first model of the service."""


class ModelQuery(QueryParams):
    """Query of ``GET /v1/classes``."""


class BankQuery(QueryParams):
    """Query of ``GET /v1/bank/{class}``."""

    limit: Annotated[int, Field(ge=1, le=100)] = 20
    after: Annotated[str, Field(max_length=128)] | None = None
    """Id of the last entry of the previous page."""


class DrawQuery(QueryParams):
    """Query of ``GET /v1/bank/{class}/draw``."""

    seed: Seed | None = None
