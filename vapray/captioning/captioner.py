"""Protocol of captioners: images to captions."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

Strategy = Literal["direct", "impression", "impression+knowledge", "vaps"]
STRATEGIES: tuple[str, ...] = get_args(Strategy)

Images = Sequence[NDArray[np.uint8]] | NDArray[np.uint8]
"""uint8 [S, S, 3] each, or stacked."""


@dataclass(frozen=True)
class CaptionDraft:
    """Caption of one image, with its intermediate texts and cost.

    Attributes:
        impression: description of the image; empty if none was requested.
        knowledge_id: id of the knowledge text; empty for none.
        caption: the text that conditions the generator.
        prompt_tokens: prompt tokens of all requests; this and the next two are 0 without a language model.
        cached_tokens: prompt tokens that came from a prefix cache.
        completion_tokens: tokens of all answers.
        finish_reason: finish reason of the last answer.
        attempts: number of requests, unusable answers included.
    """

    impression: str
    knowledge_id: str
    caption: str
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str = "stop"
    attempts: int = 0


@dataclass(frozen=True)
class CaptionReject:
    """Reason why an image has no caption: ``code: detail``."""

    reason: str


class Captioner(Protocol):
    """Interface of a captioner.

    Attributes:
        name: name of the captioner or of its model.
        revision: changes when equal images may get other captions.
        sampling: further settings that decide a caption.
        knowledge: knowledge_id -> t2, the knowledge texts.
    """

    name: str
    revision: str
    sampling: Mapping[str, Any]
    knowledge: Mapping[str, str]

    def caption(self, images: Images, image_ids: Sequence[str]) -> list[CaptionDraft | CaptionReject]:
        """Caption uint8 [S, S, 3] images; one answer per image, in order.

        A captioner that waits for a model may be called from several threads at once.
        """
        ...


def image_generator(seed: int, image_id: str) -> np.random.Generator:
    """Create the generator of one image, from (seed, image_id) only, independent of the batch."""
    return np.random.default_rng(int(digest([seed, image_id])[:16], 16))


def cache_key(image_sha256: str, made: Mapping[str, str]) -> str:
    """Hash all that decides a caption, so that equal keys mean equal captions.

    Args:
        image_sha256: sha256 of the image file.
        made: model, revision, prompts and settings.
    """
    return digest([image_sha256, dict(made)])


def digest(value: object) -> str:
    """Return the sha256 of a JSON-serializable value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
