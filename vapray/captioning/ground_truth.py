"""Captions of phantoms from their true attributes, optionally corrupted."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from vapray.captioning import caption_templates as wording
from vapray.captioning.attributes import Attribute, Attributes
from vapray.captioning.captioner import CaptionDraft, CaptionReject, image_generator
from vapray.captioning.prompt_set import AttributeSpec, PromptSet

__all__ = ["GroundTruthCaptions", "corrupt_attributes"]


class GroundTruthCaptions:
    """Captioner that words true attributes without reading images."""

    name = "drawn"
    revision = "1"

    def __init__(
        self,
        truth: Mapping[str, Attributes],
        prompt_set: PromptSet,
        seed: int = 0,
        omit: Sequence[str] = (),
        share: float = 0.0,
        corrupted: Sequence[str] = (),
    ) -> None:
        """Keep the true attributes.

        Args:
            truth: image_id -> attributes.
            prompt_set: prompt set of their modality.
            seed: seed of wording and corruption, with the image's id.
            omit: attributes that no caption mentions.
            share: share of wrong attributes in captions of training images.
            corrupted: attributes that ``share`` applies to; empty: all.
        """
        self._truth, self._prompt_set, self._seed, self._omit, self._share = truth, prompt_set, seed, omit, share
        self._corrupted = corrupted
        of_some = {"corrupted_attributes": sorted(corrupted)} if corrupted else {}
        self.sampling: Mapping[str, Any] = {"seed": seed, "omit": sorted(omit), "corrupted": share, **of_some}

    def caption_for(self, image_id: str, split: str) -> CaptionDraft | CaptionReject:
        """Caption one image; an image without true attributes is a reject."""
        known = self._truth.get(image_id)
        if known is None:
            return CaptionReject("missing: the attributes of this image are unknown")
        if split == "train":
            rng = image_generator(self._seed, f"wrong {image_id}")
            known = corrupt_attributes(known, self._prompt_set, self._share, rng, self._corrupted)
        rng = image_generator(self._seed, image_id)
        text = wording.render_caption(known, self._prompt_set, rng, self._omit)
        return CaptionDraft("", "", text, finish_reason="drawn")


def corrupt_attributes(
    attributes: Attributes,
    prompt_set: PromptSet,
    share: float,
    rng: np.random.Generator,
    names: Collection[str] = (),
) -> Attributes:
    """Replace each attribute with probability ``share`` by another value, all equally likely.

    From generators in equal states, a larger share keeps every replacement of a smaller one, and ``names``, the
    attributes that may be replaced (empty: all), selects among the replacements.
    """
    chances = rng.random(len(prompt_set.attributes))
    others = {name: _another(spec, attributes.get(name), rng) for name, spec in prompt_set.attributes.items()}
    wrong = {name for name, chance in zip(prompt_set.attributes, chances, strict=True) if chance < share}
    wrong &= set(names or wrong)
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
    """Draw another set of the same size; one member less if it has all."""
    count = min(len(value), len(spec.values) - 1)
    while True:
        other = tuple(sorted(str(one) for one in rng.permutation(list(spec.values))[:count]))
        if set(other) != set(value):
            return other
