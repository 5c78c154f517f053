"""Captions of drawn pictures: what they were drawn with in words, and on request wrong in part."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vapray.captioning import wording
from vapray.captioning.attributes import Attribute, Attributes
from vapray.captioning.captioner import CaptionDraft, CaptionReject, image_generator
from vapray.captioning.prompt_set import AttributeSpec, PromptSet

__all__ = ["DrawnCaptions", "corrupted"]


class DrawnCaptions:
    """Words true attributes, without a look at the picture."""

    name = "drawn"
    revision = "1"

    def __init__(
        self,
        truth: Mapping[str, Attributes],
        prompt_set: PromptSet,
        seed: int = 0,
        omit: Sequence[str] = (),
        share: float = 0.0,
    ) -> None:
        """Take the truth.

        Args:
            truth: image_id -> attributes.
            prompt_set: of their modality.
            seed: with an image's id it decides that image's wording and what becomes wrong.
            omit: attributes that no caption mentions.
            share: of the attributes that are wrong in captions of training images.
        """
        self._truth, self._prompt_set, self._seed, self._omit, self._share = truth, prompt_set, seed, omit, share
        self.sampling: Mapping[str, Any] = {"seed": seed, "omit": sorted(omit), "corrupted": share}

    def take(self, image_id: str, split: str) -> CaptionDraft | CaptionReject:
        """The caption of one image; one of whose drawing nothing is known is a reject."""
        known = self._truth.get(image_id)
        if known is None:
            return CaptionReject("missing: nothing is known of how this image was drawn")
        if split == "train":
            known = corrupted(known, self._prompt_set, self._share, image_generator(self._seed, f"wrong {image_id}"))
        rng = image_generator(self._seed, image_id)
        text = wording.reasoning(known, self._prompt_set, rng, self._omit)
        return CaptionDraft("", "", text, finish_reason="drawn")


def corrupted(attributes: Attributes, prompt_set: PromptSet, share: float, rng: np.random.Generator) -> Attributes:
    """Each attribute with probability ``share`` another one than it is, all other values alike likely.

    What is wrong at one share is wrong in the same way at every larger one, from generators in the same state.
    """
    chances = rng.random(len(prompt_set.attributes))
    others = {name: _another(spec, attributes.get(name), rng) for name, spec in prompt_set.attributes.items()}
    wrong = {name for name, chance in zip(prompt_set.attributes, chances, strict=True) if chance < share}
    return {name: others[name] or value if name in wrong else value for name, value in attributes.items()}


def _another(spec: AttributeSpec, value: Attribute | None, rng: np.random.Generator) -> Attribute | None:
    if value is None:
        return None
    if isinstance(value, tuple):
        return _another_set(spec, value, rng)
    worded = spec.worded(value) if isinstance(value, float) else value
    other = str(rng.choice([one for one in spec.values if one != worded]))
    return spec.typical_share(other) if isinstance(value, float) else other


def _another_set(spec: AttributeSpec, value: tuple[str, ...], rng: np.random.Generator) -> tuple[str, ...]:
    """Of as many members; of one less where it has all."""
    count = min(len(value), len(spec.values) - 1)
    while True:
        other = tuple(sorted(str(one) for one in rng.permutation(list(spec.values))[:count]))
        if set(other) != set(value):
            return other
