"""Settings of the service: ``args`` of ``serve.app:build`` in a Serve config file."""

import logging
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from vapray.config.renamed_keys import SERVICE_KEYS, apply_renamed_keys
from vapray.config.section import ConfigSection, PathText, PositiveFloat, PositiveInt
from vapray.config.validation_errors import validate

__all__ = [
    "CaptionerSettings",
    "EvaluationLimits",
    "EvaluatorSettings",
    "LinkSettings",
    "ModelSettings",
    "ReplicaSettings",
    "RequestLimits",
    "ServiceSettings",
    "read_settings",
]

LOG = logging.getLogger(__name__)
ModelId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class ReplicaSettings(ConfigSection):
    """Number of replicas of a deployment, and resources of each."""

    min: Annotated[int, Field(ge=0)] = 1
    """Minimum number of replicas. With 0 an idle deployment stops, and the next request waits for a new replica."""
    max: PositiveInt = 1
    """Maximum number of replicas."""
    num_cpus: PositiveFloat = 1
    """CPUs per replica."""
    num_gpus: Annotated[float, Field(ge=0)] = 0
    """GPUs per replica; a fraction shares a GPU."""
    upscale_delay_s: Annotated[float, Field(ge=0)] = 5
    """Seconds of high load before a replica is added."""
    downscale_delay_s: Annotated[float, Field(ge=0)] = 300
    """Seconds of low load before a replica is removed."""

    @model_validator(mode="after")
    def _ordered(self) -> "ReplicaSettings":
        if self.min > self.max:
            raise ValueError(f"min = {self.min} is above max = {self.max}")
        return self

    @property
    def device(self) -> str:
        """Torch device of a replica."""
        return "cuda" if self.num_gpus else "cpu"


class ModelSettings(ConfigSection):
    """Checkpoint that generates images."""

    name: ModelId
    """Model id in the API."""
    aliases: Annotated[tuple[ModelId, ...], Field(strict=False)] = ()
    """Further ids of the model, such as those that programs for OpenAI's API send."""
    checkpoint: PathText
    """Folder ``files/final`` of a checkpoint, or its URI."""
    weights: Literal["ema", "raw"] = "ema"
    """EMA weights, or those of the last training step."""
    text_encoder: PathText | None = None
    """Path of the text encoder; null: the path used in training."""
    run: PathText | None = None
    """Root of the run whose real images evaluations and neighbours use; null: the run that contains the checkpoint."""
    precision: Literal["float32", "bfloat16"] | None = None
    """Precision of matrix products; null: the precision in the config of the checkpoint."""
    batch_sizes: Annotated[tuple[PositiveInt, ...] | None, Field(strict=False, min_length=1)] = None
    """Allowed rows per network call; null: those in the config. With one size an image is independent of the load."""
    target_pending_rows: PositiveInt = 1024
    """Pending network rows per replica above which a replica is added."""
    max_queued_requests: PositiveInt = 256
    """Maximum number of images in progress per replica, and of images in the queue; beyond, the status is 429."""
    replicas: ReplicaSettings = ReplicaSettings()


class EvaluationLimits(ConfigSection):
    """Evaluations that are kept; older ones are deleted."""

    days: PositiveFloat = 30
    """Age of the oldest one."""
    per_key: PositiveInt = 1000
    """Number for each API key."""


class EvaluatorSettings(ConfigSection):
    """Deployment that measures image sets and finds nearest training images."""

    replicas: ReplicaSettings = ReplicaSettings(min=0, num_cpus=0.5)
    keep: EvaluationLimits = EvaluationLimits()
    """Evaluations that are kept."""


class CaptionerSettings(ConfigSection):
    """Deployment that captions images with the captioner of the model's run: measured, or a model through vLLM."""

    replicas: ReplicaSettings = ReplicaSettings(min=0, num_cpus=0.5)


class RequestLimits(ConfigSection):
    """Limits of one request."""

    body_mib: PositiveFloat = 8
    """Maximum size of a request body, and of one image file of a form, in MiB."""
    upload_mib: PositiveFloat = 4096
    """Maximum size of a form with image files, in MiB. They go to disk, below ``TMPDIR`` and then in ``state_dir``."""
    body_timeout_s: PositiveFloat = 20
    """Seconds within which a client has to send the body or the next part of a form."""
    prompt_characters: PositiveInt = 2000
    """Maximum length of a caption."""
    inference_steps: PositiveInt = 250
    """Maximum number of solver steps per image."""
    deadline_seconds: PositiveFloat = 300
    """Maximum deadline of a request, and the default."""
    images_in_progress: PositiveInt = 256
    """Maximum number of images in progress per API key and ingress replica; further ones wait."""
    images_waiting: PositiveInt = 1024
    """Maximum number of images that wait per API key and ingress replica; beyond, the status is 429."""
    evaluation_images: PositiveInt = 10_000
    """Maximum number of images per evaluation."""


class LinkSettings(ConfigSection):
    """Images at expiring URLs, for requests with ``response_format`` url."""

    seconds: PositiveFloat = 3600
    """Seconds after which a URL expires."""
    images: PositiveInt = 1000
    """Number of linked images above which the oldest are removed. They lie in ``state_dir``."""
    base_url: str | None = None
    """Address of the service in these URLs, such as https://images.example.org; null: the one the client used."""


class ServiceSettings(ConfigSection):
    """All settings of a service."""

    models: Annotated[tuple[ModelSettings, ...], Field(strict=False, min_length=1)]
    """Models; the first one is the default."""
    api_keys_file: PathText | None = None
    """File of API keys, as written by ``vapray create-key``; null: only clients on the same machine, without a key."""
    evaluator: EvaluatorSettings | None = EvaluatorSettings()
    """Evaluator; null: no evaluations."""
    captioner: CaptionerSettings | None = None
    """Captioner; null: no captions of images."""
    ingress: ReplicaSettings = ReplicaSettings(num_cpus=0.5)
    """Replicas of the HTTP API."""
    limits: RequestLimits = RequestLimits()
    links: LinkSettings = LinkSettings()
    """Images at URLs."""
    state_dir: PathText = "runs/service"
    """Folder or URI of evaluations and cached reference statistics; shared by all nodes."""
    studio: bool = True
    """Serve the studio page."""
    openapi: bool = False
    """Serve the OpenAPI document at /openapi.json to clients with a key."""
    show_training_images: bool = False
    """Return the real training images nearest to an image."""

    @property
    def evaluation_limits(self) -> EvaluationLimits:
        """Evaluations that are kept."""
        return self.evaluator.keep if self.evaluator else EvaluationLimits()

    @model_validator(mode="after")
    def _unique_names(self) -> "ServiceSettings":
        names = [name for model in self.models for name in (model.name, *model.aliases)]
        if duplicates := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"models: the name {duplicates[0]} is used twice")
        return self


def read_settings(args: Mapping[str, Any]) -> ServiceSettings:
    """Parse and check the settings of a service.

    Raises:
        ConfigError: All problems of the settings, in one error.
    """
    renamed = apply_renamed_keys(dict(args), SERVICE_KEYS, source="args", warn=LOG.warning)
    return validate(ServiceSettings, renamed, source="args of the service")
