"""Captions of dermoscopy from measured attributes, without a model: the embedded default."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vapray.captioning import caption_templates as wording
from vapray.captioning.captioner import CaptionDraft, CaptionReject, Images, image_generator
from vapray.captioning.measured.dermoscopy import measure_dermoscopy
from vapray.captioning.prompt_set import PromptSet
from vapray.errors import ImageDecodeError

__all__ = ["MeasuredCaptioner"]


class MeasuredCaptioner:
    """Captioner that measures attributes and words them; reports call it "measured captions", never "VAPS"."""

    name = "measured"
    revision = "2"

    def __init__(self, prompt_set: PromptSet, seed: int = 0, omit: Sequence[str] = ()) -> None:
        """Word the knowledge texts.

        Args:
            prompt_set: attributes and texts; the attributes are those of ``dermoscopy``.
            seed: seed of the wording, with the image's id; independent of the rest of the batch.
            omit: attributes that no text mentions.
        """
        self.prompt_set, self.seed, self.omit = prompt_set, seed, frozenset(omit)
        self._needed = {name for name, spec in prompt_set.attributes.items() if not spec.optional}
        self.sampling: Mapping[str, Any] = {"seed": seed, "omit": sorted(omit)}
        variants = range(len(prompt_set.texts.knowledge))
        self.knowledge: Mapping[str, str] = dict(wording.pick_knowledge(prompt_set, number) for number in variants)

    def caption(self, images: Images, image_ids: Sequence[str]) -> list[CaptionDraft | CaptionReject]:
        """Caption uint8 [S, S, 3] images; an image in which no lesion stands out is a reject."""
        return [self._one(image, image_id) for image, image_id in zip(images, image_ids, strict=True)]

    def _one(self, image: NDArray[np.uint8], image_id: str) -> CaptionDraft | CaptionReject:
        try:
            found = measure_dermoscopy(image, self.prompt_set.detail)
        except ImageDecodeError as error:
            return CaptionReject(str(error))
        if not self._needed <= found.keys():
            return CaptionReject("nothing stands out from the background")
        rng = image_generator(self.seed, image_id)
        knowledge_id, _ = wording.pick_knowledge(self.prompt_set, int(rng.integers(1 << 30)))
        impression = wording.render_impression(found, self.prompt_set, rng, self.omit)
        return CaptionDraft(impression, knowledge_id, wording.render_caption(found, self.prompt_set, rng, self.omit))
