"""What a service is told, strictly checked: ``args`` of ``serve.app:build`` in a Serve config file."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field, ValidationError, model_validator

from vapray.config.section import Count, Positive, Section
from vapray.errors import ConfigError

__all__ = [
    "CaptionerSettings",
    "EvaluatorSettings",
    "ModelSettings",
    "ReplicaSettings",
    "RequestLimits",
    "ServiceSettings",
    "read_settings",
]


class ReplicaSettings(Section):
    """How many copies of a deployment there are, and what each takes."""

    min: Annotated[int, Field(ge=0)] = 1
    """Of replicas; 0 lets the last one go when nothing is asked, and the next request wait for a new one."""
    max: Count = 1
    """Of replicas."""
    num_cpus: Positive = 1
    """Of each."""
    num_gpus: Annotated[float, Field(ge=0)] = 0
    """Of each; a fraction shares a GPU."""
    upscale_delay_s: Annotated[float, Field(ge=0)] = 5
    """How long load has to last before a replica is added."""
    downscale_delay_s: Annotated[float, Field(ge=0)] = 300
    """How long it has to be gone before one is removed."""

    @model_validator(mode="after")
    def _ordered(self) -> "ReplicaSettings":
        if self.min > self.max:
            raise ValueError(f"min = {self.min} is above max = {self.max}")
        return self

    @property
    def device(self) -> str:
        """Of torch."""
        return "cuda" if self.num_gpus else "cpu"


class ModelSettings(Section):
    """A checkpoint that makes pictures."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    """What clients call it."""
    checkpoint: str
    """Its folder ``files/final``, or the URI of it."""
    weights: Literal["ema", "raw"] = "ema"
    """Averaged, or of the last step."""
    text_encoder: str | None = None
    """Where it lies, if elsewhere than in training."""
    run: str | None = None
    """Root of the run whose real pictures evaluations and neighbours use; None: the one that the checkpoint lies in."""
    precision: Literal["float32", "bfloat16"] | None = None
    """Of the network's matrix products; None: as the config of the checkpoint says."""
    batch_sizes: Annotated[tuple[Count, ...] | None, Field(strict=False, min_length=1)] = None
    """Rows of one network call; None: as the config says. With one size a picture does not depend on the load."""
    target_pending_rows: Count = 1024
    """Network rows waiting for each replica above which one more is added."""
    max_waiting: Count = 256
    """Pictures that a replica works on at once, and as many may wait for one; beyond, clients are told 429."""
    replicas: ReplicaSettings = ReplicaSettings()


class EvaluatorSettings(Section):
    """Metrics of sets of pictures, and nearest training pictures."""

    replicas: ReplicaSettings = ReplicaSettings(min=0, num_cpus=0.5)


class CaptionerSettings(Section):
    """Describes a picture with the captioner of the run: measured, or a model through vLLM."""

    replicas: ReplicaSettings = ReplicaSettings(min=0, num_cpus=0.5)


class RequestLimits(Section):
    """What one request may ask for."""

    body_mib: Positive = 8
    """Of a request."""
    body_seconds: Positive = 20
    """In which a client has to have sent its request."""
    prompt_characters: Count = 2000
    """Of a caption."""
    inference_steps: Count = 250
    """Solver steps of a picture."""
    deadline_seconds: Positive = 300
    """The longest deadline, and that of a request without one."""
    evaluation_images: Count = 5000
    """Pictures of one evaluation."""


class ServiceSettings(Section):
    """A whole service."""

    models: Annotated[tuple[ModelSettings, ...], Field(strict=False, min_length=1)]
    """At least one; the first one answers where a request names none."""
    keys: str | None = None
    """File of API keys, as ``vapray key`` writes it. None: this machine alone may ask, without a key."""
    evaluator: EvaluatorSettings | None = EvaluatorSettings()
    """None: no evaluations."""
    captioner: CaptionerSettings | None = None
    """None: pictures are not described."""
    ingress: ReplicaSettings = ReplicaSettings(num_cpus=0.5)
    """The HTTP side."""
    limits: RequestLimits = RequestLimits()
    state: str = "runs/service"
    """Folder or URI for evaluations and cached reference statistics; on several nodes one that all of them see."""
    studio: bool = True
    """Serve the page."""
    docs: bool = False
    """Serve the OpenAPI document, /openapi.json, to whoever has a key."""
    show_training_images: bool = False
    """Let clients see the real pictures nearest to generated ones."""

    @model_validator(mode="after")
    def _names_once(self) -> "ServiceSettings":
        names = [model.name for model in self.models]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"models: the name {twice[0]} stands twice")
        return self


def read_settings(args: Mapping[str, Any]) -> ServiceSettings:
    """The settings of a service.

    Raises:
        ConfigError: every problem of them, in one error.
    """
    try:
        return ServiceSettings.model_validate(args)
    except ValidationError as error:
        # A list lacks an entry where the entry is wrong.
        wrong = [one for one in error.errors() if one["type"] != "too_short" or not one["input"]]
        problems = [_problem(found["loc"], found["type"], found["msg"], found["input"]) for found in wrong]
        raise ConfigError("\n  ".join(["args of the service:", *problems])) from None


def _problem(path: Sequence[int | str], kind: str, message: str, value: Any) -> str:
    name = ".".join(map(str, path))
    if kind == "extra_forbidden":
        known = _section_at(path[:-1]).model_fields
        close = difflib.get_close_matches(str(path[-1]), known, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"Known: {', '.join(known)}."
        return f"unknown key {name}. {hint}"
    shown = "" if isinstance(value, Mapping) else f" = {value!r}"
    return f"{name or 'settings'}{shown}: {message.removeprefix('Value error, ')}."


def _section_at(path: Sequence[int | str]) -> type[BaseModel]:
    section: type[BaseModel] = ServiceSettings
    for name in path:
        if isinstance(name, str):
            section = next(kind for kind in _kinds(section.model_fields[name].annotation) if issubclass(kind, Section))
    return section


def _kinds(annotation: Any) -> list[type]:
    """The classes that an annotation is made of."""
    inner = [kind for part in get_args(annotation) for kind in _kinds(part)]
    return [annotation, *inner] if isinstance(annotation, type) else inner
