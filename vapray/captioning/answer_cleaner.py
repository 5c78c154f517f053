"""Cleaner of model answers: keeps what an answer says of the image, as plain text.

It removes Markdown, preambles ("Here's a description:"), offers ("Would you like ...?"), disclaimers ("I am an AI") and
talk about the answer itself. It works on sentences; of a sentence that also describes, only the clause is removed.
"""

import itertools
import re

from vapray.captioning.assistant_talk import (
    description_of,
    is_closing_list,
    is_preamble,
    is_talk,
    lead_end,
    mentions_diagnosis,
)
from vapray.captioning.caption_filter import clean_text
from vapray.captioning.markdown_text import plain_blocks
from vapray.captioning.refusals import refuses
from vapray.captioning.sentences import split_sentences

__all__ = ["clean_answer"]

_MAX_SENTENCE = 2_000
"""Length in characters of the longest sentence that is looked into; a longer one is a model that repeats itself."""
_CONTRAST = re.compile(r";\s+|[,;]?\s+(?:but|however|although|though|yet|nevertheless)\b,?\s+", re.IGNORECASE)
_ADDITION = re.compile(r"[,;]\s+(?:which|so|and|please)\s+", re.IGNORECASE)


def clean_answer(answer: str) -> str:
    """Keep what a model's answer says of the image, in one line of plain text.

    Args:
        answer: text of the model, without its reasoning.

    Returns:
        The text; empty if the answer says nothing of the image. A refusal is kept, for the filter to find it.
    """
    return _cleaned(answer) or _capitalized(_cleaned(description_of(answer)))


def _cleaned(answer: str) -> str:
    blocks = itertools.takewhile(lambda block: not is_closing_list(block), plain_blocks(answer))
    kept = [[text for sentence in split_sentences(block) if (text := _keep(sentence))] for block in blocks]
    texts = [_ended(" ".join(sentences)) for sentences in kept if sentences]
    while texts and texts[-1].endswith(":"):  # a label without a text
        texts.pop()
    return clean_text(" ".join(texts))


def _keep(sentence: str) -> str:
    """Return what a sentence says of the image, or a refusal as it is."""
    is_refusal = refuses(sentence) and not mentions_diagnosis(sentence)
    if is_refusal or len(sentence) > _MAX_SENTENCE:
        return sentence
    if end := lead_end(sentence):
        return _capitalized(_keep(sentence[end:]))
    if not is_talk(sentence):
        return sentence
    announced = sentence.partition(":")[2].strip()
    if announced and is_preamble(sentence):
        return _capitalized(_keep(announced))
    return _kept_clauses(sentence)


def _kept_clauses(sentence: str) -> str:
    clauses = _CONTRAST.split(sentence)
    if len(clauses) > 1:
        return _capitalized("; ".join(text for clause in clauses if (text := _keep(clause))))
    first, *rest = _ADDITION.split(sentence)
    return first if rest and not is_talk(first) else ""


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def _ended(text: str) -> str:
    return text if text.rstrip("\"')”’").endswith((".", "!", "?", ":", ";")) else f"{text.rstrip(',')}."
