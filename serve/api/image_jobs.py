"""A request for images becomes one order for each; what this model cannot do is refused, all of it in one error."""

import dataclasses
import hashlib
import secrets
import time
from collections.abc import Iterator

from serve.api.dependencies import class_number, unknown_class
from serve.api.field_errors import Problem, refuse
from serve.api.requests import HIGHEST_SEED, MOST_IMAGES, GenerateRequest, ImageRequest
from serve.backend import ImageOrder, ModelCard
from serve.settings import Limits
from vapray.sampling.generated import SamplingSettings

__all__ = ["first_seed", "generation_problems", "image_orders", "settings_of"]

DRAW = "draw"
SEEDS = HIGHEST_SEED + 2 - MOST_IMAGES
"""That a request without one may begin with."""


def image_orders(
    request: ImageRequest, card: ModelCard, limits: Limits, *, seed: int, request_id: str
) -> list[ImageOrder]:
    """One order for each of the images.

    Raises:
        ApiError: 400.
    """
    refuse([*_problems(request, card, limits)])
    named = None if request.prompt is None else class_number(card, request.prompt)
    label = named if request.label is None else class_number(card, request.label)
    order = ImageOrder(
        model=card.name,
        label=label,
        caption=None if named is not None else request.prompt,
        seed=seed,
        settings=settings_of(request, card),
        bank_id=None if request.bank == DRAW else request.bank,
        deadline=time.time() + (request.deadline_seconds or limits.deadline_seconds),
        previews=request.partial_images,
        request_id=request_id,
    )
    return [dataclasses.replace(order, seed=seed + index) for index in range(request.n)]


def first_seed(given: int | None, idempotency_key: str | None, owner: str) -> int:
    """The seed given; or one that a retry under the same key has again; or any."""
    if given is not None:
        return given
    if idempotency_key is None:
        return secrets.randbelow(SEEDS)
    digest = hashlib.sha256(f"{owner}\n{idempotency_key}".encode()).digest()
    return int.from_bytes(digest[:16], "big") % SEEDS


def settings_of(request: ImageRequest | GenerateRequest, card: ModelCard) -> SamplingSettings:
    """The model's, with what the request says instead."""
    names = ("num_inference_steps", "guidance_scale", "solver", "prototypes")
    said = {name: value for name in names if (value := getattr(request, name, None)) is not None}
    return dataclasses.replace(card.settings, **said)


def generation_problems(
    request: ImageRequest | GenerateRequest, card: ModelCard, limits: Limits, where: str = ""
) -> Iterator[Problem]:
    """What this model cannot do, of what any request to generate may ask for."""
    most = min(limits.inference_steps, card.max_inference_steps)
    if request.label is not None and class_number(card, request.label) is None:
        yield Problem(f"{where}label", f"{where}label: {unknown_class(card)}", "unknown_class")
    if request.seed is not None and request.seed + request.n - 1 > HIGHEST_SEED:
        most_of_n = f"at most {HIGHEST_SEED} - {request.n - 1} for {request.n} images"
        yield Problem(f"{where}seed", f"{where}seed = {request.seed}: {most_of_n}, whose seeds follow one another.")
    if (steps := request.num_inference_steps) is not None and steps > most:
        yield Problem(f"{where}num_inference_steps", f"{where}num_inference_steps = {steps}: wanted 1..{most}.")
    if request.prototypes == "bypassed" and not card.has_prototypes:
        yield Problem(f"{where}prototypes", f"{where}prototypes: {card.name} has none to bypass. Leave it out.")


def _problems(request: ImageRequest, card: ModelCard, limits: Limits) -> Iterator[Problem]:
    yield from generation_problems(request, card, limits)
    yield from _caption_problems(request, card, limits)
    side = card.image_size
    if request.size not in ("auto", f"{side}x{side}"):
        yield Problem("size", f"size = {request.size}: {card.name} makes {side}x{side}. Leave it out, or auto.")
    if (seconds := request.deadline_seconds) is not None and seconds > limits.deadline_seconds:
        yield Problem("deadline_seconds", f"deadline_seconds = {seconds:g}: at most {limits.deadline_seconds:g}.")
    if request.partial_images and not request.stream:
        yield Problem("partial_images", "partial_images: only a stream shows them. Ask with stream = true.")


def _caption_problems(request: ImageRequest, card: ModelCard, limits: Limits) -> Iterator[Problem]:
    if (request.prompt is None) == (request.bank is None):
        found = "neither is there" if request.prompt is None else "both are there"
        yield Problem("prompt", f'prompt, bank: {found}. Give a prompt, or bank = "draw", or an entry of the bank.')
    if request.bank == DRAW and request.label is None:
        yield Problem("label", 'label: bank = "draw" draws from the bank of a class. Name the class.')
    if request.prompt is None:
        return
    if not request.prompt.strip():
        yield Problem("prompt", "prompt: has no words. Describe the image, or name a class.")
    if len(request.prompt) > limits.prompt_characters:
        yield Problem(
            "prompt", f"prompt: {len(request.prompt)} characters, at most {limits.prompt_characters}. Shorten it."
        )
    named, label = (None if one is None else class_number(card, one) for one in (request.prompt, request.label))
    if named is not None and label is not None and named != label:
        yield Problem("prompt", "prompt names another class than label. Leave one of them out.")
