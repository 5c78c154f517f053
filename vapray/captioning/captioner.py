"""Captioners: pictures in, captions out, behind one protocol.

The Visual Attribute Prompt Strategy (VAPS) asks three questions: t1 = MLLM(X0, Q1), the impression;
t2 = MLLM(Q2), the knowledge, asked without an image; t_mix = MLLM(t1, t2, X0, Q3), the caption.
Source: VAP-Diffusion (arXiv 2506.23641), section 2.2.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from vapray.captioning import wording
from vapray.captioning.measured.measure import MEASURES, measure
from vapray.captioning.prompt_set import PromptSet
from vapray.errors import BadImage, ConfigError

Strategy = Literal["direct", "impression", "impression+knowledge", "vaps"]
STRATEGIES: tuple[str, ...] = get_args(Strategy)
CAPTIONERS = ("given", "measured")

Pictures = Sequence[NDArray[np.uint8]] | NDArray[np.uint8]
"""uint8 [S, S, 3] each, or stacked."""

MAX_CAPTION_CHARACTERS = 2000
"""Captions are data: longer ones are no captions, and are refused rather than cut."""

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")


@dataclass(frozen=True)
class CaptionDraft:
    """One image's caption and the texts it came from."""

    t1: str
    """The impression; empty where the strategy does not ask for one."""
    t2_id: str
    """Which knowledge text was used; empty for none."""
    caption: str
    prompt_tokens: int
    completion_tokens: int
    """Tokens of a language model; 0 where none was asked."""
    finish_reason: str


@dataclass(frozen=True)
class CaptionReject:
    """An image that got no caption, and why."""

    reason: str


class Captioner(Protocol):
    """What every captioner offers."""

    name: str
    revision: str

    def caption(self, images: Pictures, image_ids: Sequence[str]) -> list[CaptionDraft | CaptionReject]:
        """Caption uint8 [S, S, 3] pictures; one answer per picture, in order."""
        ...


def checked(draft: CaptionDraft) -> CaptionDraft | CaptionReject:
    """Strip control and invisible characters and surplus space; refuse empty and overlong captions."""
    t1, caption = (re.sub(r"\s+", " ", _CONTROL.sub("", text)).strip() for text in (draft.t1, draft.caption))
    if not caption:
        return CaptionReject("empty caption")
    if len(caption) > MAX_CAPTION_CHARACTERS:
        return CaptionReject(f"caption of {len(caption)} characters; at most {MAX_CAPTION_CHARACTERS}")
    return CaptionDraft(
        t1[:MAX_CAPTION_CHARACTERS],
        draft.t2_id,
        caption,
        draft.prompt_tokens,
        draft.completion_tokens,
        draft.finish_reason,
    )


class MeasuredCaptioner:
    """Captions from measured attributes, without a model.

    An experiment's arm that uses it is called "measured captions", never "VAPS".
    """

    name = "measured"
    revision = "1"

    def __init__(self, prompt_set: PromptSet, strategy: str = "vaps", seed: int = 0, omit: Sequence[str] = ()) -> None:
        """Prepare for one modality.

        Args:
            prompt_set: its name is the modality that is measured.
            strategy: only ``vaps``; prompting ablations need a model that can be prompted.
            seed: with an image's id it decides that image's wording, whatever else is in the batch.
            omit: attributes that no text mentions.

        Raises:
            ConfigError: a modality without measurements, another strategy, or an unknown attribute.
        """
        _require_strategy(strategy)
        if strategy != "vaps":
            raise ConfigError(
                f"caption.strategy = {strategy!r}: the measured captioner runs vaps only; "
                "the other strategies are tested with an MLLM only. Take strategy vaps."
            )
        if prompt_set.name not in MEASURES:
            raise ConfigError(
                f"prompt set {prompt_set.name!r}: the measured captioner measures {', '.join(sorted(MEASURES))} only. "
                "Take one of these, or caption.captioner=given with your own captions."
            )
        if unknown := set(omit) - set(prompt_set.attributes):
            raise ConfigError(f"omit: unknown {', '.join(sorted(unknown))}. Known: {', '.join(prompt_set.attributes)}.")
        self.prompt_set, self.seed, self.omit = prompt_set, seed, frozenset(omit)

    def caption(self, images: Pictures, image_ids: Sequence[str]) -> list[CaptionDraft | CaptionReject]:
        """Caption uint8 [S, S, 3] pictures; a picture without a finding to describe is a reject."""
        return [self._one(image, image_id) for image, image_id in zip(images, image_ids, strict=True)]

    def _one(self, image: NDArray[np.uint8], image_id: str) -> CaptionDraft | CaptionReject:
        try:
            found = measure(image, self.prompt_set.name)
        except BadImage as error:
            return CaptionReject(str(error))
        if len(found) < len(self.prompt_set.attributes):
            return CaptionReject("nothing stands out from the background")
        rng = wording_generator(self.seed, image_id)
        t2_id, _ = wording.knowledge(self.prompt_set, int(rng.integers(1 << 30)))
        t1 = wording.impression(found, self.prompt_set, rng, self.omit)
        t_mix = wording.reasoning(found, self.prompt_set, rng, self.omit)
        return checked(CaptionDraft(t1, t2_id, t_mix, 0, 0, "stop"))


class GivenCaptioner:
    """The user's own captions, by image id."""

    name = "given"

    def __init__(self, captions: Mapping[str, str]) -> None:
        """Take the captions; ``revision`` is a hash of all of them."""
        self.captions = dict(captions)
        self.revision = _digest(sorted(self.captions.items()))[:12]

    def caption(self, images: Pictures, image_ids: Sequence[str]) -> list[CaptionDraft | CaptionReject]:
        """Look the captions up; an image without one is a reject."""
        return [
            checked(CaptionDraft("", "", self.captions[image_id], 0, 0, "given"))
            if image_id in self.captions
            else CaptionReject("no caption was given for this image")
            for image_id in image_ids
        ]


def make_captioner(
    name: str,
    prompt_set: PromptSet,
    *,
    strategy: str = "vaps",
    seed: int = 0,
    omit: Sequence[str] = (),
    captions: Mapping[str, str] | None = None,
) -> Captioner:
    """Build a captioner by name.

    Raises:
        ConfigError: an unknown name, a strategy it cannot run, or ``given`` without captions.
    """
    _require_strategy(strategy)
    if name == "measured":
        return MeasuredCaptioner(prompt_set, strategy, seed, omit)
    if name == "given":
        if captions is None:
            raise ConfigError(
                "caption.captioner = given: wants captions. Add caption.captions=FILE, a CSV with image_id and caption."
            )
        return GivenCaptioner(captions)
    raise ConfigError(f"caption.captioner = {name!r}: wanted one of {', '.join(CAPTIONERS)}.")


def wording_generator(seed: int, image_id: str) -> np.random.Generator:
    """Return the generator of one image's wording, a function of (seed, image_id) only."""
    return np.random.default_rng(int(_digest([seed, image_id])[:16], 16))


def cache_key(
    image_sha256: str, captioner: str, revision: str, prompt_version: str, sampling: Mapping[str, Any]
) -> str:
    """Hash all that decides a caption, so that an unchanged image is never captioned twice."""
    return _digest([image_sha256, captioner, revision, prompt_version, dict(sampling)])


def _require_strategy(strategy: str) -> None:
    if strategy not in STRATEGIES:
        raise ConfigError(f"caption.strategy = {strategy!r}: wanted one of {', '.join(STRATEGIES)}.")


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
