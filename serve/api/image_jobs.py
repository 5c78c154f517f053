"""A request for images becomes one order for each; what this model cannot do is refused, all of it in one error."""

import dataclasses
import hashlib
import secrets
import time
from collections.abc import Iterator

from serve.api.dependencies import resolve_label, unknown_label_message
from serve.api.field_errors import FieldError, raise_field_errors
from serve.api.requests import MAX_IMAGES, MAX_SEED, GenerateRequest, ImageGenerationRequest
from serve.backend import ImageJob, ModelInfo
from serve.settings import RequestLimits
from vapray.sampling.generated import SamplingSettings

__all__ = ["build_image_jobs", "generation_errors", "merge_settings", "resolve_seed"]

DRAW = "draw"
SEEDS = MAX_SEED + 2 - MAX_IMAGES
"""That a request without one may begin with."""


def build_image_jobs(
    request: ImageGenerationRequest, info: ModelInfo, limits: RequestLimits, *, seed: int, request_id: str
) -> list[ImageJob]:
    """One order for each of the images.

    Raises:
        ApiError: 400.
    """
    raise_field_errors([*_problems(request, info, limits)])
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
    )
    return [dataclasses.replace(job, seed=seed + index) for index in range(request.n)]


def resolve_seed(given: int | None, idempotency_key: str | None, principal: str) -> int:
    """The seed given; or one that a retry under the same key has again; or any."""
    if given is not None:
        return given
    if idempotency_key is None:
        return secrets.randbelow(SEEDS)
    digest = hashlib.sha256(f"{principal}\n{idempotency_key}".encode()).digest()
    return int.from_bytes(digest[:16], "big") % SEEDS


def merge_settings(request: ImageGenerationRequest | GenerateRequest, info: ModelInfo) -> SamplingSettings:
    """The model's, with what the request says instead."""
    names = ("num_inference_steps", "guidance_scale", "solver", "prototypes")
    said = {name: value for name in names if (value := getattr(request, name, None)) is not None}
    return dataclasses.replace(info.settings, **said)


def generation_errors(
    request: ImageGenerationRequest | GenerateRequest, info: ModelInfo, limits: RequestLimits, where: str = ""
) -> Iterator[FieldError]:
    """What this model cannot do, of what any request to generate may ask for."""
    most = min(limits.inference_steps, info.max_inference_steps)
    if request.label is not None and resolve_label(info, request.label) is None:
        yield FieldError(f"{where}label", f"{where}label: {unknown_label_message(info)}", "unknown_class")
    if request.seed is not None and request.seed + request.n - 1 > MAX_SEED:
        most_of_n = f"at most {MAX_SEED} - {request.n - 1} for {request.n} images"
        yield FieldError(f"{where}seed", f"{where}seed = {request.seed}: {most_of_n}, whose seeds follow one another.")
    if (steps := request.num_inference_steps) is not None and steps > most:
        yield FieldError(f"{where}num_inference_steps", f"{where}num_inference_steps = {steps}: wanted 1..{most}.")
    if request.prototypes == "bypassed" and not info.has_prototypes:
        yield FieldError(f"{where}prototypes", f"{where}prototypes: {info.name} has none to bypass. Leave it out.")


def _problems(request: ImageGenerationRequest, info: ModelInfo, limits: RequestLimits) -> Iterator[FieldError]:
    yield from generation_errors(request, info, limits)
    yield from _caption_errors(request, info, limits)
    side = info.image_size
    if request.size not in ("auto", f"{side}x{side}"):
        yield FieldError("size", f"size = {request.size}: {info.name} makes {side}x{side}. Leave it out, or auto.")
    if (seconds := request.deadline_seconds) is not None and seconds > limits.deadline_seconds:
        yield FieldError("deadline_seconds", f"deadline_seconds = {seconds:g}: at most {limits.deadline_seconds:g}.")
    if request.partial_images and not request.stream:
        yield FieldError("partial_images", "partial_images: only a stream shows them. Ask with stream = true.")


def _caption_errors(request: ImageGenerationRequest, info: ModelInfo, limits: RequestLimits) -> Iterator[FieldError]:
    if (request.prompt is None) == (request.bank is None):
        found = "neither is there" if request.prompt is None else "both are there"
        yield FieldError("prompt", f'prompt, bank: {found}. Give a prompt, or bank = "draw", or an entry of the bank.')
    if request.bank == DRAW and request.label is None:
        yield FieldError("label", 'label: bank = "draw" draws from the bank of a class. Name the class.')
    if request.prompt is None:
        return
    if not request.prompt.strip():
        yield FieldError("prompt", "prompt: has no words. Describe the image, or name a class.")
    if len(request.prompt) > limits.prompt_characters:
        yield FieldError(
            "prompt", f"prompt: {len(request.prompt)} characters, at most {limits.prompt_characters}. Shorten it."
        )
    named, label = (None if one is None else resolve_label(info, one) for one in (request.prompt, request.label))
    if named is not None and label is not None and named != label:
        yield FieldError("prompt", "prompt names another class than label. Leave one of them out.")
