"""Image jobs of a request, after its checks against the model."""

import dataclasses
import hashlib
import secrets
import time
from collections.abc import Iterator

from serve.api.dependencies import resolve_label, unknown_label_message
from serve.api.field_errors import FieldError, raise_field_errors
from serve.api.requests import MAX_IMAGES, MAX_SEED, OPENAI_SIZES, GenerateRequest, ImageGenerationRequest
from serve.backend import ImageJob, ModelInfo
from serve.settings import RequestLimits
from vapray.sampling.generated import SamplingSettings

__all__ = ["build_image_jobs", "generation_errors", "merge_settings", "resolve_seed"]

DRAW = "draw"
NUM_RANDOM_SEEDS = MAX_SEED + 2 - MAX_IMAGES
"""First seeds of a request without a seed: 0 up to this number, exclusive."""


def build_image_jobs(
    request: ImageGenerationRequest, info: ModelInfo, limits: RequestLimits, *, seed: int, request_id: str, owner: str
) -> list[ImageJob]:
    """Build one job per image.

    Raises:
        ApiError: 400.
    """
    raise_field_errors(_field_errors(request, info, limits))
    named = None if request.prompt is None else resolve_label(info, request.prompt)
    label = named if request.label is None else resolve_label(info, request.label)
    job = ImageJob(
        model=info.name,
        label=label,
        caption=None if named is not None else request.prompt,
        seed=seed,
        settings=merge_settings(request, info),
        bank_id=None if request.bank == DRAW else request.bank,
        deadline=time.time() + (request.deadline_seconds or limits.deadline_seconds),
        previews=request.partial_images,
        request_id=request_id,
        owner=owner,
    )
    return [dataclasses.replace(job, seed=seed + index) for index in range(request.n)]


def resolve_seed(seed: int | None, idempotency_key: str | None, owner: str) -> int:
    """Return the given seed, or one derived from the idempotency key, or a random one."""
    if seed is not None:
        return seed
    if idempotency_key is None:
        return secrets.randbelow(NUM_RANDOM_SEEDS)
    digest = hashlib.sha256(f"{owner}\n{idempotency_key}".encode()).digest()
    return int.from_bytes(digest[:16], "big") % NUM_RANDOM_SEEDS


def merge_settings(request: ImageGenerationRequest | GenerateRequest, info: ModelInfo) -> SamplingSettings:
    """Merge the settings of a request into the model's defaults."""
    names = ("num_inference_steps", "guidance_scale", "solver", "prototypes")
    given = {name: value for name in names if (value := getattr(request, name, None)) is not None}
    return dataclasses.replace(info.settings, **given)


def generation_errors(
    request: ImageGenerationRequest | GenerateRequest, info: ModelInfo, limits: RequestLimits, prefix: str = ""
) -> Iterator[FieldError]:
    """Check the fields shared by image and evaluation requests against the model."""
    max_steps = min(limits.inference_steps, info.max_inference_steps)
    if request.label is not None and resolve_label(info, request.label) is None:
        yield FieldError(f"{prefix}label", f"{prefix}label: {unknown_label_message(info)}", "unknown_class")
    if request.seed is not None and request.seed + request.n - 1 > MAX_SEED:
        accepted = f"at most {MAX_SEED} - {request.n - 1} for {request.n} images with consecutive seeds"
        yield FieldError(f"{prefix}seed", f"{prefix}seed = {request.seed}: {accepted}.")
    if (steps := request.num_inference_steps) is not None and steps > max_steps:
        name = f"{prefix}num_inference_steps"
        yield FieldError(name, f"{name} = {steps}: expected 1..{max_steps}.")
    if request.prototypes == "bypassed" and not info.has_prototypes:
        yield FieldError(f"{prefix}prototypes", f"{prefix}prototypes = bypassed: {info.name} has no prototypes.")


def _field_errors(request: ImageGenerationRequest, info: ModelInfo, limits: RequestLimits) -> Iterator[FieldError]:
    yield from generation_errors(request, info, limits)
    yield from _caption_errors(request, info, limits)
    size = f"{info.image_size}x{info.image_size}"
    if request.size not in ("auto", size, *OPENAI_SIZES):
        yield FieldError("size", f"size = {request.size}: {info.name} accepts auto, {size}, and OpenAI's sizes.")
    if request.background == "transparent":
        yield FieldError("background", "background = transparent: the model's images are opaque.")
    if (seconds := request.deadline_seconds) is not None and seconds > limits.deadline_seconds:
        yield FieldError("deadline_seconds", f"deadline_seconds = {seconds:g}: at most {limits.deadline_seconds:g}.")
    if request.partial_images and not request.stream:
        yield FieldError("partial_images", "partial_images: requires stream = true.")


def _caption_errors(request: ImageGenerationRequest, info: ModelInfo, limits: RequestLimits) -> Iterator[FieldError]:
    if (request.prompt is None) == (request.bank is None):
        received = "neither" if request.prompt is None else "both"
        yield FieldError("prompt", f"prompt, bank: got {received}; exactly one is required.")
    if request.bank == DRAW and request.label is None:
        yield FieldError("label", 'label: required with bank = "draw".')
    if request.prompt is None:
        return
    if not request.prompt.strip():
        yield FieldError("prompt", "prompt: blank. Describe the image, or name a class.")
    if len(request.prompt) > limits.prompt_characters:
        yield FieldError("prompt", f"prompt: {len(request.prompt)} characters, at most {limits.prompt_characters}.")
    named, label = (None if one is None else resolve_label(info, one) for one in (request.prompt, request.label))
    if named is not None and label is not None and named != label:
        yield FieldError("prompt", "prompt, label: they name different classes. Remove one.")
