"""Places of a caption's statements in its text.

The parser works on a normalized text and returns no places. A place is therefore found by asking the parser: it is the
shortest run of words that alone states a value, and that still states it in the caption when the other such runs are
hidden. So "light brown" in "a light brown lesion on light brown skin" is found for the colour of the lesion, not of the
skin. The place grows to the longest phrase of the value around it: "brown" to "dark brown".
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vapray.captioning.attributes import Attribute, Attributes
from vapray.captioning.caption_parser import parse_caption
from vapray.captioning.prompt_set import AttributeSpec, PromptSet
from vapray.captioning.text import normalize

__all__ = ["StatementSpan", "stated_values", "statement_spans"]

_WORD = re.compile(r"\w+(?:[.,'’/-]\w+)*(?:\s?%)?")
_LONGEST = 8
"""Number of words up to which a place is searched."""
_HIDDEN = "xx"
"""Replacement of a hidden word; no prompt set knows it."""


@dataclass(frozen=True)
class StatementSpan:
    """One statement of a caption, and one place of its words.

    Attributes:
        attribute: attribute of the prompt set.
        value: stated value; one member for a set.
        start: first character of the words.
        end: position behind the last one.
    """

    attribute: str
    value: str | float
    start: int
    end: int


def stated_values(said: Attributes) -> list[tuple[str, str | float]]:
    """List the statements as pairs of attribute and value; each member of a set is one."""
    return [(name, one) for name, value in said.items() for one in (value if isinstance(value, tuple) else (value,))]


def statement_spans(text: str, prompt_set: PromptSet) -> list[StatementSpan]:
    """Find the words of each statement, in the order of the text.

    A statement can have several places, and none if it follows from more than eight words.
    """
    words = [match.span() for match in _WORD.finditer(text)]
    windows = [
        (words[first][0], words[first + count - 1][1])
        for count in range(1, _LONGEST + 1)
        for first in range(len(words) - count + 1)
    ]
    parsed = [parse_caption(text[begin:end], prompt_set) for begin, end in windows]
    found = [
        StatementSpan(name, value, *_grown(text, (begin, end), windows, prompt_set.attributes[name], value))
        for name, value in stated_values(parse_caption(text, prompt_set))
        for begin, end in _places(
            text,
            [span for span, said in zip(windows, parsed, strict=True) if _states(said.get(name), value)],
            name,
            value,
            prompt_set,
        )
    ]
    return sorted(found, key=lambda span: (span.start, span.end))


def _states(said: Attribute | None, value: str | float) -> bool:
    return value in said if isinstance(said, tuple) else said == value


def _places(
    text: str, candidates: Sequence[tuple[int, int]], name: str, value: str | float, prompt_set: PromptSet
) -> list[tuple[int, int]]:
    """Select the shortest candidates, and of these the ones that state the value in the caption."""
    apart: list[tuple[int, int]] = []
    for begin, end in candidates:  # the shortest first
        if all(end <= one[0] or one[1] <= begin for one in apart):
            apart.append((begin, end))
    stated = [
        span for span in apart if _states(parse_caption(_without(text, apart, span), prompt_set).get(name), value)
    ]
    return stated or apart


def _grown(
    text: str, place: tuple[int, int], windows: Sequence[tuple[int, int]], spec: AttributeSpec, value: str | float
) -> tuple[int, int]:
    phrases = {normalize(one) for one in (*spec.words.get(str(value), ()), *spec.reads.get(str(value), ()))}
    around = [
        (begin, end)
        for begin, end in windows
        if begin <= place[0] and place[1] <= end and normalize(text[begin:end]) in phrases
    ]
    return max([place, *around], key=lambda span: span[1] - span[0])


def _without(text: str, spans: Sequence[tuple[int, int]], kept: tuple[int, int]) -> str:
    """Hide the words of all spans but one; their punctuation stays."""
    for begin, end in sorted(spans, reverse=True):
        if (begin, end) != kept:
            text = text[:begin] + _WORD.sub(_HIDDEN, text[begin:end]) + text[end:]
    return text
