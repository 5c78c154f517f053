"""Filter of captions: cleaning, and the reasons why a text is unusable.

A reason begins with a code and never quotes the text, so that a refused identifier does not reach a log.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterator

__all__ = ["MAX_CAPTION_CHARACTERS", "cleaned", "fault"]

MAX_CAPTION_CHARACTERS = 2000
"""Maximum length of a caption; longer texts are refused, not truncated."""

_INVISIBLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_NOT_TEXT = re.compile(r"[\ufffd\ud800-\udfff]")

_REFUSAL = re.compile(
    r"\b(?:i(?: am|'m)? (?:sorry|apologi[sz]e|unable|not able|cannot|can't|can not|won't|must decline)"
    r"|(?:sorry|unfortunately),? (?:but )?i\b|as an? (?:ai|language|large) (?:language )?model"
    r"|(?:cannot|can't|unable to) (?:see|view|access|assist|help|process|provide|describe|analy[sz]e)"
    r"|no image (?:was |is )?(?:provided|attached|given|visible)|please (?:provide|upload|attach|share))",
    re.IGNORECASE,
)
_INSTRUCTION = re.compile(
    r"\b(?:(?:ignore|disregard|forget|override) (?:all |any |the |your |these |those )*"
    r"(?:previous|prior|above|earlier|preceding|system) "
    r"|(?:follow|obey) (?:these|the following|my) instructions|you (?:must|should|will) now\b|new instructions?\b"
    r"|(?:caption|label|describe|classify|mark) (?:all|any|each|every) (?:other )?(?:image|picture)s? as"
    r"|system prompt)|<\|?/?(?:system|assistant|user|im_start|im_end|script|inst)\b|\[/?inst\]|\bdeveloper mode\b",
    re.IGNORECASE,
)
_IDENTIFIERS = {
    "a date": re.compile(
        r"\b(?:\d{1,2}[./-]\d{1,2}[./-](?:\d{4}|\d{2})|\d{4}[./-]\d{1,2}[./-]\d{1,2}"
        r"|\d{1,2}(?:st|nd|rd|th)? (?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]* (?:19|20)\d\d)\b",
        re.IGNORECASE,
    ),
    "a number of six digits or more": re.compile(r"\d(?:[ -]?\d){5,}"),
    "an e-mail or web address": re.compile(r"\S+@\S+\.\w+|\b(?:https?://|www\.)\S+", re.IGNORECASE),
    "a personal detail": re.compile(
        r"\b(?:patient(?:'s)? (?:name|id|number)|patient:? (?-i:[A-Z][a-z]+ [A-Z][a-z]+)"
        r"|mrn|d\.?o\.?b\b|date of birth|born (?:on|in)|accession|ssn"
        r"|social security|(?:mr|mrs|ms|dr)\.? [A-Z][a-z]+|name ?: ?\w+)",
        re.IGNORECASE,
    ),
}
_LONGEST_RUN, _SMALLEST_VARIETY = 6, 0.2


def cleaned(text: str) -> str:
    """Remove control characters, invisible characters and surplus space."""
    return re.sub(r"\s+", " ", _INVISIBLE.sub("", text)).strip()


def fault(text: str) -> str | None:
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
    if _REFUSAL.search(text):
        yield "refusal: the model declines to describe the image"
    if _INSTRUCTION.search(text):
        yield "instruction: reads like a command to a model"
    yield from (f"identifier: {what}" for what, pattern in _IDENTIFIERS.items() if pattern.search(text))


def _repeats(text: str) -> bool:
    words = text.lower().split()
    run = longest = 1
    for before, word in itertools.pairwise(words):
        run = run + 1 if word == before else 1
        longest = max(longest, run)
    return longest >= _LONGEST_RUN or (len(words) >= 30 and len(Counter(words)) < _SMALLEST_VARIETY * len(words))
