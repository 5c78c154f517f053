"""Filter of captions: cleaning, and the reasons why a text is unusable.

A reason begins with a code and never quotes the text, so that a refused identifier does not reach a log.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterator

from vapray.captioning.refusals import asks_for_image, refuses

__all__ = ["INSTRUCTION", "MAX_CAPTION_CHARACTERS", "REFUSAL", "clean_text", "has_instruction", "reject_reason"]

REFUSAL = "refusal: the model declines to describe the image"
INSTRUCTION = "instruction: reads like a command to a model"

MAX_CAPTION_CHARACTERS = 10_000
"""Maximum length of a text; longer ones are refused. A text of 1,024 tokens has some 5,000."""

_INVISIBLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_NOT_TEXT = re.compile(r"[\ufffd\ud800-\udfff]")

_INSTRUCTION = re.compile(
    r"\b(?:(?:ignore|disregard|forget|override) (?:all |any |the |your |these |those )*"
    r"(?:previous|prior|above|earlier|preceding|system) "
    r"|(?:follow|obey) (?:these|the following|my) instructions|you (?:must|should|will) now\b|new instructions?\b"
    r"|(?:caption|label|describe|classify|mark) (?:all|any|each|every) (?:other )?(?:image|picture)s? as"
    r"|system prompt)|<\|?/?(?:system|assistant|user|im_start|im_end|script|inst)\b|\[/?inst\]|\bdeveloper mode\b",
    re.IGNORECASE,
)
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_UNIT = r"(?:\s?(?:%|°|[µu]?m\b|[cmn]m\b|px\b|pixels?\b|x\b|×))"
_IDENTIFIERS = {
    "a date": re.compile(
        rf"\b{_DAY}([./-]){_DAY}\1(?:(?:19|20)\d\d|\d\d)\b(?!{_UNIT}|\.?\d)"
        rf"|\b(?:19|20)\d\d([./-]){_DAY}\2{_DAY}\b"
        rf"|\b(?:{_DAY}(?:st|nd|rd|th)?[ -])?{_MONTH}[ -](?:{_DAY}(?:st|nd|rd|th)?,? )?(?:19|20)\d\d\b",
        re.IGNORECASE,
    ),
    "a number of six digits or more": re.compile(
        r"(?<![\d.#])\d{6,}"
        rf"|\b\d{{2,4}}([ -])\d{{2,4}}\1\d{{4}}\b|\b\d{{3}}-\d{{3}}-\d{{3}}\b|\b\d{{4,}}[ -]\d{{4,}}\b(?!{_UNIT})"
        r"|\b0\d{1,3}[ -]?\d(?:[ -]?\d){4,}\b"
    ),
    "an e-mail or web address": re.compile(r"\S+@\S+\.\w+|\b(?:https?://|www\.)\S+", re.IGNORECASE),
    "a personal detail": re.compile(
        r"\b(?:patient(?:'s)? (?:name|id|number)\b|patient:? (?-i:[A-Z][a-z]+ [A-Z][a-z]+\b(?!(?: [A-Z]\w+)*:))"
        r"|(?:mrn|ssn|accession|d\.?o\.?b)\b|date of birth|born (?:on|in)\b|social security|name ?: ?\w+"
        r"|(?-i:(?:Mr|Mrs|Ms|Miss|Dr|Prof)\.? (?:(?:van|von|de|der|den|di|da|del|la|le|al|el|bin) )*[A-Z][\w'-]+)"
        r"|(?-i:[A-Z]{2,}\^[A-Z]{2,}))",
        re.IGNORECASE,
    ),
}
_LONGEST_RUN, _SMALLEST_VARIETY = 6, 0.2


def clean_text(text: str) -> str:
    """Remove control characters, invisible characters and surplus space."""
    return re.sub(r"\s+", " ", _INVISIBLE.sub("", text)).strip()


def has_instruction(text: str) -> bool:
    """Return True if a text commands a model, or holds the marks of a chat's turns."""
    return bool(_INSTRUCTION.search(text))


def reject_reason(text: str) -> str | None:
    """Return the reason why a cleaned text is unusable, as ``code: detail``; None for a usable text."""
    return next(_faults(text), None)


def _faults(text: str) -> Iterator[str]:
    if not text:
        yield "empty: no text"
    if len(text) > MAX_CAPTION_CHARACTERS:
        yield f"too_long: {len(text):,} characters; at most {MAX_CAPTION_CHARACTERS:,}"
    if _NOT_TEXT.search(text):
        yield "not_text: bytes that are not UTF-8"
    if not re.search(r"[^\W\d_]{2}", text):
        yield "not_text: no word"
    if _repeats(text):
        yield "repetitive: the same words over and over"
    if refuses(text) or asks_for_image(text):
        yield REFUSAL
    if has_instruction(text):
        yield INSTRUCTION
    yield from (f"identifier: {what}" for what, pattern in _IDENTIFIERS.items() if pattern.search(text))


def _repeats(text: str) -> bool:
    words = text.lower().split()
    run = longest = 1
    for before, word in itertools.pairwise(words):
        run = run + 1 if word == before else 1
        longest = max(longest, run)
    return longest >= _LONGEST_RUN or (len(words) >= 30 and len(Counter(words)) < _SMALLEST_VARIETY * len(words))
