"""Usable answers of a language model: as written, for the conversation, and cleaned, for the table."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from vapray.captioning.answer_cleaner import clean_answer
from vapray.captioning.caption_filter import INSTRUCTION, REFUSAL, clean_text, has_instruction, reject_reason
from vapray.captioning.chat import ChatCompletion
from vapray.captioning.reasoning import reads_like_reasoning, remove_reasoning
from vapray.captioning.refusals import declines
from vapray.captioning.sentences import cut_at_sentence_end

__all__ = ["Reply", "UnusableAnswerError", "read_reply"]


class UnusableAnswerError(Exception):
    """The answer is unusable; the message is the reason, as ``code: detail``."""


@dataclass(frozen=True)
class Reply:
    """Usable answer.

    Attributes:
        text: what the answer says of the image, as one line of plain text.
        raw: the answer as the model wrote it, without its reasoning. The next turn repeats it, so that the engine finds
            it in its prefix cache.
    """

    text: str
    raw: str


def read_reply(
    answer: ChatCompletion, reject_reason: Callable[[str], str | None] = reject_reason, *, is_json: bool = False
) -> Reply:
    """Read an answer.

    An answer that was cut off at the limit of tokens ends with its last complete sentence.

    Args:
        answer: answer of the model.
        reject_reason: returns the reason why a cleaned text is unusable, or None.
        is_json: the answer is a JSON object with one text for each attribute.

    Raises:
        UnusableAnswerError: the answer has no usable text.
    """
    is_cut = answer.finish_reason == "length"
    raw = remove_reasoning(answer.text)
    if raw is None:
        raise UnusableAnswerError("thinking: no answer outside the model's reasoning")
    if is_json:
        text = "" if is_cut else clean_answer(_worded(raw))
    else:
        text = clean_answer(cut_at_sentence_end(raw) if is_cut else raw)
    if reason := _reason(text, raw, answer, reject_reason):
        raise UnusableAnswerError(reason)
    return Reply(text, raw)


def _reason(text: str, raw: str, answer: ChatCompletion, reject_reason: Callable[[str], str | None]) -> str | None:
    if has_instruction(clean_text(raw)):  # the next turn repeats all of it
        return INSTRUCTION
    if text:
        thinks = reads_like_reasoning(text)
        return "thinking: reads like the model's reasoning" if thinks else reject_reason(text)
    if answer.finish_reason == "length":
        return f"cut_off: no sentence ends within {answer.completion_tokens} tokens"
    return REFUSAL if declines(raw) else "empty: no text about the image"


def _worded(answer: str) -> str:
    """Build the caption of a JSON answer: its texts, named by their attributes."""
    found = re.search(r"\{.*\}", answer, re.DOTALL)  # an endpoint that ignores the schema may write a code block
    try:
        texts = json.loads(found.group()) if found else None
    except ValueError:
        texts = None
    if not isinstance(texts, dict):
        raise UnusableAnswerError("not_json: the answer does not fit the schema")
    return "; ".join(f"{name.replace('_', ' ')}: {text}" for name, text in texts.items()) + "."
