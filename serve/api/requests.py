"""Request models; checks that depend on the model are in ``image_jobs``."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vapray.config.section import ConfigSection
from vapray.diffusion.solver import SolverName
from vapray.sampling.generated import Prototypes

__all__ = [
    "MAX_IMAGES",
    "MAX_SEED",
    "OPENAI_SIZES",
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
OPENAI_SIZES = ("256x256", "512x512", "1024x1024", "1024x1536", "1536x1024", "1024x1792", "1792x1024")
"""Sizes of OpenAI's models, which clients name without asking for the model's own."""


def _nullable(schema: dict[str, Any]) -> None:
    """Say in the JSON schema that null stands for a default."""
    for name, field in schema.get("properties", {}).items():
        kinds = field.get("anyOf", [field])
        if name not in schema.get("required", ()) and {"type": "null"} not in kinds:
            told = {key: field.pop(key) for key in ("title", "description", "default") if key in field}
            schema["properties"][name] = {"anyOf": [*field.get("anyOf", [dict(field)]), {"type": "null"}], **told}


class RequestBody(ConfigSection):
    """Body of a request: null is a field's default, and 1.0 is the whole number 1, as JSON Schema says."""

    model_config = ConfigDict(json_schema_extra=_nullable)

    @model_validator(mode="before")
    @classmethod
    def _as_clients_write(cls, body: Any) -> Any:
        return dict(cls._fields(body)) if isinstance(body, dict) else body

    @classmethod
    def _fields(cls, body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, value in body.items():
            field = cls.model_fields.get(name)
            if value is None and field is not None and not field.is_required():
                continue
            whole = isinstance(value, float) and value.is_integer() and field and _takes_only_whole(field.annotation)
            yield name, int(value) if whole else value


def _takes_only_whole(annotation: Any) -> bool:
    """Check whether the numbers of an annotation are whole ones."""
    parts = {annotation, *(part for outer in get_args(annotation) for part in (outer, *get_args(outer)))}
    return int in parts and float not in parts


class ImageGenerationRequest(RequestBody):
    """Body of ``POST /v1/images/generations``: OpenAI's fields, then those of this service."""

    prompt: Annotated[str, Field(min_length=1)] | None = None
    """Caption, or the name of a class, for which a caption is drawn from its bank."""
    model: ModelName | None = None
    """Model id or one of its aliases; default: the first model of the service."""
    n: Annotated[int, Field(ge=1, le=MAX_IMAGES)] = 1
    """Number of images, with consecutive seeds."""
    size: Annotated[str, Field(pattern=r"^(auto|[0-9]{1,5}x[0-9]{1,5})$")] = "auto"
    """Image size of the model, or auto. A size of OpenAI's models gives the model's own, which the response tells."""
    output_format: Literal["png", "jpeg", "webp"] = "png"
    """File format. PNG files have the provenance in text chunks, the others in the EXIF field ImageDescription."""
    output_compression: Annotated[int, Field(ge=0, le=100)] = 100
    """Quality of jpeg and webp; webp is lossless at 100."""
    response_format: Literal["b64_json", "url"] | None = None
    """Images in the response, or at expiring URLs of the service; null: url if the requested model begins with dall-e,
    as OpenAI's. Streams have b64_json only."""
    quality: Literal["auto", "standard", "hd", "low", "medium", "high"] = "auto"
    """No effect: num_inference_steps decides."""
    style: Literal["vivid", "natural"] | None = None
    """No effect."""
    background: Literal["auto", "opaque", "transparent"] = "auto"
    """Images are opaque; transparent is refused."""
    moderation: Literal["auto", "low"] = "auto"
    """No effect."""
    user: Annotated[str, Field(max_length=256)] | None = None
    """No effect; not stored."""
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


class DistanceRequest(RequestBody):
    """Body of ``POST /v1/bank/{class}/distance``."""

    caption: Annotated[str, Field(min_length=1)]
    model: ModelName | None = None


class NeighboursRequest(RequestBody):
    """Body of ``POST /v1/neighbours``."""

    image: Base64
    """Image file in base64."""
    k: Annotated[int, Field(ge=1, le=10)] = 5
    model: ModelName | None = None


class CaptionRequest(RequestBody):
    """Body of ``POST /v1/captions``."""

    image: Base64
    """Image file in base64."""
    model: ModelName | None = None


class GenerateRequest(RequestBody):
    """Images to generate for an evaluation; captions are drawn from the bank."""

    n: Annotated[int, Field(ge=2)]
    label: Annotated[int | str, Field(union_mode="left_to_right")] | None = None
    """Class name or number; null: classes in proportion to the training images."""
    seed: Seed = 0
    guidance_scale: GuidanceScale | None = None
    num_inference_steps: Steps | None = None
    prototypes: Prototypes = "on"


class EvaluationRequest(RequestBody):
    """Body of ``POST /v1/evaluations``."""

    generate: GenerateRequest
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
