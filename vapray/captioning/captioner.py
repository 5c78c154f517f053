"""Captioners: pictures in, captions out, behind one protocol."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

Strategy = Literal["direct", "impression", "impression+knowledge", "vaps"]
STRATEGIES: tuple[str, ...] = get_args(Strategy)

Pictures = Sequence[NDArray[np.uint8]] | NDArray[np.uint8]
"""uint8 [S, S, 3] each, or stacked."""


@dataclass(frozen=True)
class CaptionDraft:
    """One image's caption, the texts it came from, and what it cost.

    Attributes:
        t1: the impression; empty where none was asked for.
        t2_id: which knowledge text was used; empty for none.
        caption: the text that conditions the generator.
        prompt_tokens: over all requests of the image; 0 where no language model was asked, as for the next two.
        cached_tokens: of these, how many a prefix cache spared.
        completion_tokens: over all answers.
        finish_reason: of the last answer.
        attempts: requests, those included whose answer could not be used.
    """

    t1: str
    t2_id: str
    caption: str
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str = "stop"
    attempts: int = 0


@dataclass(frozen=True)
class CaptionReject:
    """An image that got no caption, and why: ``code: what was found``."""

    reason: str


class Captioner(Protocol):
    """What every captioner offers.

    Attributes:
        name: of the captioner, or of the model that it asks.
        revision: changes when equal pictures may get other captions.
        sampling: settings that decide a caption besides these.
        knowledge: t2_id -> t2, the texts that captions may have been made with.
    """

    name: str
    revision: str
    sampling: Mapping[str, Any]
    knowledge: Mapping[str, str]

    def caption(self, images: Pictures, image_ids: Sequence[str]) -> list[CaptionDraft | CaptionReject]:
        """Caption uint8 [S, S, 3] pictures; one answer per picture, in order.

        May be called from several threads at once where the captioner waits for a model.
        """
        ...


def image_generator(seed: int, image_id: str) -> np.random.Generator:
    """What is drawn for one image: a function of (seed, image_id) only, whatever else is in the batch."""
    return np.random.default_rng(int(digest([seed, image_id])[:16], 16))


def cache_key(image_sha256: str, made: Mapping[str, str]) -> str:
    """Hash all that decides a caption, so that equal keys mean equal captions.

    Args:
        image_sha256: of the picture's file.
        made: model, revision, prompts and settings.
    """
    return digest([image_sha256, dict(made)])


def digest(value: object) -> str:
    """The sha256 of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
