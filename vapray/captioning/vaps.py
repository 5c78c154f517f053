"""VAPS, the Visual Attribute Prompt Strategy: a multimodal language model asked in three steps.

    t1    = MLLM(X0, Q1)              the impression
    t2    = MLLM(Q2)                  the knowledge, without an image: asked once, shared by all images
    t_mix = MLLM(t1, t2, X0, Q3)      the caption

Steps 1 and 3 of an image are two turns of one conversation that shows the image first, so that step 3 finds what the
model computed for it in its prefix cache. Source: VAP-Diffusion (arXiv 2506.23641), section 2.2.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vapray.captioning.asking import RETRY_TEMPERATURE, Asking, Prompting, Unusable, json_schema
from vapray.captioning.captioner import CaptionDraft, CaptionReject, Pictures, digest, image_generator
from vapray.captioning.chat import ChatModel, EventLoop, Turns
from vapray.captioning.hygiene import fault
from vapray.captioning.lexicon import parse_caption
from vapray.captioning.prompt_set import PromptSet
from vapray.errors import BackendError

__all__ = ["Settle", "VapsCaptioner"]

Settle = Callable[[Callable[[], dict[str, str]]], dict[str, str]]


class VapsCaptioner:
    """Captioner that prompts a multimodal language model."""

    def __init__(
        self,
        model: ChatModel,
        prompt_set: PromptSet,
        prompting: Prompting,
        loop: EventLoop,
        settle: Settle = lambda ask: ask(),
    ) -> None:
        """Request the knowledge texts once.

        Args:
            model: language model; its coroutines run on ``loop``.
            prompt_set: questions and attributes.
            prompting: prompting options.
            loop: event loop of the conversations.
            settle: takes the function that requests the knowledge and returns its result, or the texts that another
                captioner of the same run received before.
        """
        self.model, self.loop, self._prompts, self._prompting = model, loop, prompt_set, prompting
        self._slots = asyncio.Semaphore(model.concurrency)
        self.name, self.revision = model.name, model.revision
        self.sampling: Mapping[str, Any] = prompting.to_record()
        wants_knowledge = prompting.strategy in {"vaps", "impression+knowledge"}
        self.knowledge: Mapping[str, str] = settle(lambda: loop.run(self._ask_knowledge())) if wants_knowledge else {}

    def reseeded(self, seed: int, temperature: float) -> "VapsCaptioner":
        """Return a captioner with the same model and knowledge and another seed, for the consistency of captions."""
        drawn = replace(self._prompting, seed=seed, temperature=temperature)
        return VapsCaptioner(self.model, self._prompts, drawn, self.loop, lambda _: dict(self.knowledge))

    def caption(self, images: Pictures, image_ids: Sequence[str]) -> list[CaptionDraft | CaptionReject]:
        """Caption uint8 [S, S, 3] images, as many at a time as the model takes."""
        return self.loop.run(self._all(images, image_ids))

    async def _all(self, images: Pictures, image_ids: Sequence[str]) -> list[CaptionDraft | CaptionReject]:
        pairs = zip(images, image_ids, strict=True)
        return await asyncio.gather(*(self._in_a_slot(image, image_id) for image, image_id in pairs))

    async def _in_a_slot(self, image: NDArray[np.uint8], image_id: str) -> CaptionDraft | CaptionReject:
        async with self._slots:  # both turns: another image's first turn would evict this one from the prefix cache
            asking = Asking(self.model, self._prompting, image_id, image)
            try:
                return await self._converse(asking, image_id)
            except Unusable as error:
                return CaptionReject(str(error))

    async def _converse(self, asking: Asking, image_id: str) -> CaptionDraft:
        strategy, questions = self._prompting.strategy, self._prompts.questions
        if strategy == "direct":
            return asking.draft("", "", await self._reason(asking, (self._question(),)))
        first = f"{questions.impression}{self._leave_out()}"
        if strategy == "impression":
            t1 = await asking.ask("impression", (first,), self._fault_of_a_caption, whole=True)
            return asking.draft(t1, "", t1)
        t1 = await asking.ask("impression", (first,), fault, whole=strategy != "vaps")
        drawn = image_generator(self._prompting.seed, image_id).integers(len(self.knowledge))
        t2_id, t2 = list(self.knowledge.items())[drawn]
        if strategy == "impression+knowledge":
            if reason := self._fault_of_a_caption(f"{t1} {t2}"):
                raise Unusable(reason)
            return asking.draft(t1, t2_id, f"{t1} {t2}")
        caption = await self._reason(asking, (first, t1, f"{t2}\n\n{self._question()}"))
        return asking.draft(t1, t2_id, caption)

    async def _reason(self, asking: Asking, turns: Turns) -> str:
        if not self._prompting.json:
            return await asking.ask("reasoning", turns, self._fault_of_a_caption, whole=True)
        schema = json_schema(self._asked_attributes())
        return await asking.ask("reasoning", turns, self._fault_of_a_caption, schema, whole=True)

    def _asked_attributes(self) -> list[str]:
        return [name for name in self._prompts.attributes if name not in self._prompting.omit]

    def _question(self) -> str:
        fields = ", ".join(self._asked_attributes())
        as_json = f" Answer as JSON with one short text for each of: {fields}." if self._prompting.json else ""
        return f"{self._prompts.questions.reasoning}{self._leave_out()}{as_json}"

    def _leave_out(self) -> str:
        words = [name.replace("_", " ") for name in self._prompting.omit]
        return f" Do not mention the {' or the '.join(words)}." if words else ""

    def _fault_of_a_caption(self, text: str) -> str | None:
        said = parse_caption(text, self._prompts) if self._prompting.omit else {}
        mentioned = [name for name in self._prompting.omit if name in said]
        return fault(text) or (f"omission: mentions {', '.join(mentioned)}" if mentioned else None)

    async def _ask_knowledge(self) -> dict[str, str]:
        numbers = range(self._prompting.knowledge_variants)
        warmer = replace(self._prompting, temperature=max(self._prompting.temperature, RETRY_TEMPERATURE))
        found = {}
        for number in numbers:
            prompting = self._prompting if number == 0 else warmer  # else all variants would be the first
            asking = Asking(self.model, prompting, f"knowledge {number}", None)
            try:
                text = await asking.ask("knowledge", (self._prompts.questions.knowledge,), fault, whole=False)
            except Unusable as error:
                raise BackendError(
                    f"{self.name}: no usable answer to the knowledge question of {self._prompts.name}: {error}. "
                    "Fix: set another caption.model, or caption.strategy=impression, which needs no knowledge."
                ) from None
            found[f"{self._prompts.name}.{self._prompts.version}.{digest(text)[:12]}"] = text
        return found
