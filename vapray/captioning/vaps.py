"""VAPS, the Visual Attribute Prompt Strategy: a multimodal language model asked in three steps.

    t1    = MLLM(X0, Q1)              the impression
    t2    = MLLM(Q2)                  the knowledge, without an image: asked once, shared by all images
    t_mix = MLLM(t1, t2, X0, Q3)      the caption

Steps 1 and 3 of an image are two turns of one conversation that shows the image first, so that step 3 finds what the
model computed for it in its prefix cache. Source: VAP-Diffusion (arXiv 2506.23641), section 2.2.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vapray.captioning.caption_filter import reject_reason
from vapray.captioning.caption_parser import parse_caption
from vapray.captioning.caption_session import (
    RETRY_TEMPERATURE,
    CaptionSession,
    PromptingOptions,
    json_schema,
)
from vapray.captioning.captioner import CaptionDraft, CaptionReject, Images, digest, image_generator
from vapray.captioning.chat import ChatModel, EventLoop, Messages
from vapray.captioning.prompt_set import PromptSet
from vapray.captioning.reply import Reply, UnusableAnswerError
from vapray.errors import BackendError

__all__ = ["VapsCaptioner"]


class VapsCaptioner:
    """Captioner that prompts a multimodal language model."""

    def __init__(
        self,
        model: ChatModel,
        prompt_set: PromptSet,
        prompting: PromptingOptions,
        loop: EventLoop,
        knowledge: Mapping[str, str] | None = None,
    ) -> None:
        """Request the knowledge texts, if they are not given.

        Args:
            model: language model; its coroutines run on ``loop``.
            prompt_set: questions and attributes.
            prompting: prompting options.
            loop: event loop of the conversations.
            knowledge: texts that another captioner of the same run received before.
        """
        self.model, self.loop, self._prompts, self._prompting = model, loop, prompt_set, prompting
        self._slots = asyncio.Semaphore(model.concurrency)
        self.name, self.revision = model.name, model.revision
        self.sampling: Mapping[str, Any] = prompting.to_record()
        if knowledge is None:
            has_knowledge = prompting.strategy in {"vaps", "impression+knowledge"}
            knowledge = loop.run(self._request_knowledge()) if has_knowledge else {}
        self.knowledge = knowledge

    def reseeded(self, seed: int, temperature: float) -> "VapsCaptioner":
        """Return a captioner with the same model and knowledge and another seed, for the consistency of captions."""
        drawn = replace(self._prompting, seed=seed, temperature=temperature)
        return VapsCaptioner(self.model, self._prompts, drawn, self.loop, self.knowledge)

    def caption(self, images: Images, image_ids: Sequence[str]) -> list[CaptionDraft | CaptionReject]:
        """Caption uint8 [S, S, 3] images, as many at a time as the model takes."""
        return self.loop.run(self._caption_all(images, image_ids))

    async def _caption_all(self, images: Images, image_ids: Sequence[str]) -> list[CaptionDraft | CaptionReject]:
        pairs = zip(images, image_ids, strict=True)
        tasks = [asyncio.ensure_future(self._caption_one(image, image_id)) for image, image_id in pairs]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:  # after an error of the server, no further image is sent to it
                task.cancel()

    async def _caption_one(self, image: NDArray[np.uint8], image_id: str) -> CaptionDraft | CaptionReject:
        async with self._slots:  # both turns: another image's first turn would evict this one from the prefix cache
            session = CaptionSession(self.model, self._prompting, image_id, image)
            try:
                return await self._converse(session, image_id)
            except UnusableAnswerError as error:
                return CaptionReject(str(error))

    async def _converse(self, session: CaptionSession, image_id: str) -> CaptionDraft:
        strategy, questions = self._prompting.strategy, self._prompts.questions
        if strategy == "direct":
            return session.draft("", "", (await self._reason(session, (self._question(),))).text)
        first = f"{questions.impression}{self._omit_instruction()}"
        if strategy == "impression":
            t1 = await session.request("impression", (first,), self._caption_reject_reason)
            return session.draft(t1.text, "", t1.text)
        t1 = await session.request("impression", (first,), reject_reason)
        drawn = image_generator(self._prompting.seed, image_id).integers(len(self.knowledge))
        knowledge_id, t2 = list(self.knowledge.items())[drawn]
        if strategy == "impression+knowledge":
            if reason := self._caption_reject_reason(f"{t1.text} {t2}"):
                raise UnusableAnswerError(reason)
            return session.draft(t1.text, knowledge_id, f"{t1.text} {t2}")
        caption = await self._reason(session, (first, t1.raw, f"{t2}\n\n{self._question()}"))
        return session.draft(t1.text, knowledge_id, caption.text)

    async def _reason(self, session: CaptionSession, turns: Messages) -> Reply:
        schema = json_schema(self._requested_attributes()) if self._prompting.json else None
        return await session.request("reasoning", turns, self._caption_reject_reason, schema)

    def _requested_attributes(self) -> list[str]:
        return [name for name in self._prompts.attributes if name not in self._prompting.omit]

    def _question(self) -> str:
        fields = ", ".join(self._requested_attributes())
        as_json = f" Answer as JSON with one short text for each of: {fields}." if self._prompting.json else ""
        return f"{self._prompts.questions.reasoning}{self._omit_instruction()}{as_json}"

    def _omit_instruction(self) -> str:
        words = [name.replace("_", " ") for name in self._prompting.omit]
        return f" Do not mention the {' or the '.join(words)}." if words else ""

    def _caption_reject_reason(self, text: str) -> str | None:
        said = parse_caption(text, self._prompts) if self._prompting.omit else {}
        mentioned = [name for name in self._prompting.omit if name in said]
        return reject_reason(text) or (f"omission: mentions {', '.join(mentioned)}" if mentioned else None)

    async def _request_knowledge(self) -> dict[str, str]:
        usual = replace(self._prompting, max_tokens=self._prompting.knowledge_max_tokens)
        warmer = replace(usual, temperature=max(usual.temperature, RETRY_TEMPERATURE))
        found = {}
        for number in range(self._prompting.knowledge_variants):
            prompting = usual if number == 0 else warmer  # else all variants would be the first
            session = CaptionSession(self.model, prompting, f"knowledge {number}", None)
            try:
                reply = await session.request("knowledge", (self._prompts.questions.knowledge,), reject_reason)
            except UnusableAnswerError as error:
                raise BackendError(
                    f"{self.name}: no usable answer to the knowledge question of {self._prompts.name}: {error}. "
                    "Fix: set another caption.model or caption.knowledge_max_tokens, or caption.strategy=impression, "
                    "which needs no knowledge."
                ) from None
            found[f"{self._prompts.name}.{self._prompts.version}.{digest(reply.text)[:12]}"] = reply.text
        return found
