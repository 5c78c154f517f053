"""Removal of the statements about some attributes from a caption, with the other words kept.

A caption is edited sentence by sentence. The smallest part that states such an attribute and no other is removed: a
clause between commas, then a phrase that a preposition, a conjunction or a verb begins or ends, then single words. The
parser decides: a part is removed only if the sentence then states less of the unwanted attributes and the same of the
others.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from vapray.captioning.attributes import Attributes
from vapray.captioning.caption_parser import implied_attributes, parse_caption
from vapray.captioning.caption_templates import render_caption
from vapray.captioning.captioner import image_generator
from vapray.captioning.prompt_set import PromptSet
from vapray.captioning.sentences import split_sentences

__all__ = ["RemovedStatements", "remove_statements", "without"]

Span = tuple[int, int]

_CLAUSE_END = re.compile(r"[,;:]\s+|\s+[-–—]\s+|\s*[()]\s*")
_PHRASE_START = re.compile(
    r"(?<!\S)(?:and|or|but|while|with|without|on|in|of|against|at|by|from|to|around|within|is|are|appears?|has|have|shows?|"
    r"seems?|exhibits?|displays?|covering|filling|taking|occupying|covers|occupies|measuring|surrounded)(?!\S)",
    re.IGNORECASE,
)
_WORD = re.compile(r"\S+")
_LONGEST_PHRASE = 4
"""Number of adjacent words that are tried together."""
_FEWEST_WORDS = 3
"""Number of words up to which the rest of an edited sentence that states nothing is removed too."""
_LOOSE_START = re.compile(r"^(?:[\s,;:–—-]+|(?:and|or|but|while)\s+)+", re.IGNORECASE)
_LOOSE_END = re.compile(
    r"(?:[\s,;:–—-]+|\s(?:and|or|but|while|with|in|of|on|is|are|the|an?))+(?=[.!?]*$)", re.IGNORECASE
)
_TIDY = (
    (re.compile(r"\s+"), " "),
    (re.compile(r"\(\s*\)"), ""),
    (re.compile(r"\s+([,.;:)])"), r"\1"),
    (re.compile(r"[,;:]\s*(?:(?:and|or)\s*)?(?=[,;:.])"), ""),
    (re.compile(r"([,;:]) (?:and|or) (?=(?:with|on|in|of|covering|while)\b)"), r"\1 "),
)


@dataclass(frozen=True)
class RemovedStatements:
    """A caption without the statements about some attributes.

    Attributes:
        text: The caption; never empty, and never states one of these attributes.
        how: ``unchanged``: it stated none; ``edited``: parts were removed; ``reworded``: written again by the prompt
            set's template; ``shortened``: as reworded, but other statements were lost as well.
    """

    text: str
    how: Literal["unchanged", "edited", "reworded", "shortened"]


def without(said: Attributes, names: Collection[str], prompt_set: PromptSet) -> Attributes:
    """Select the statements that are not about ``names``.

    What an attribute implies belongs to it: "no opacity" states the location and implies a size of 0. Both go if the
    location does, and both stay if the size alone does.
    """
    gone = implied_attributes({name: said[name] for name in names if name in said}, prompt_set).items()
    kept = {name: value for name, value in said.items() if name not in names and (name, value) not in gone}
    return kept | implied_attributes(kept, prompt_set)


def remove_statements(text: str, prompt_set: PromptSet, names: Collection[str]) -> RemovedStatements | None:
    """Remove what a caption states about some attributes.

    The parsed attributes of the result are those of ``text`` without ``names``. Where no edit keeps that law, the
    caption is written again by the prompt set's template. Where the template cannot keep it either, because one phrase
    states several attributes ("no opacity"), other statements are lost too.

    Args:
        text: Caption, of one or more sentences.
        prompt_set: Prompt set that parses it.
        names: Attributes that the result must not state.

    Returns:
        The caption, or None if every caption that is left would be empty or would state one of the attributes.
    """
    said = parse_caption(text, prompt_set)
    wanted = without(said, names, prompt_set)
    if wanted == said:
        return RemovedStatements(text, "unchanged")
    edited = " ".join(filter(None, (_edited(sentence, prompt_set, names) for sentence in split_sentences(text))))
    if edited and parse_caption(edited, prompt_set) == wanted:
        return RemovedStatements(edited, "edited")
    return _reworded(wanted, prompt_set, names, text)


def _reworded(wanted: Attributes, prompt_set: PromptSet, names: Collection[str], text: str) -> RemovedStatements | None:
    """Write the caption again; drop further attributes, one after the other, until it states none of ``names``."""
    if not prompt_set.texts.reasoning:
        return None
    kept, rng = dict(wanted), image_generator(0, text)
    while True:
        rewritten = render_caption(kept, prompt_set, rng)
        found = parse_caption(rewritten, prompt_set)
        if rewritten and found.items() <= wanted.items():
            return RemovedStatements(rewritten, "reworded" if found == wanted else "shortened")
        if not kept:
            return None
        kept.popitem()


def _edited(sentence: str, prompt_set: PromptSet, names: Collection[str]) -> str:
    """Remove parts of a sentence until it states none of ``names``; unchanged where that is impossible."""
    said = parse_caption(sentence, prompt_set)
    wanted, left = without(said, names, prompt_set), said
    edited = sentence
    while left != wanted:
        for begin, end in _parts(edited, whole_clauses=not wanted):
            shorter = _cut(edited, begin, end)
            found = parse_caption(shorter, prompt_set)
            if found != left and without(found, names, prompt_set) == wanted and _size(found) <= _size(left):
                edited, left = shorter, found
                break
        else:
            return "" if not wanted else sentence
    return edited if wanted or len(edited.split()) > _FEWEST_WORDS else ""


def _size(said: Attributes) -> int:
    """Count the stated values; each named colour is one."""
    return sum(len(value) if isinstance(value, tuple) else 1 for value in said.values())


def _parts(sentence: str, *, whole_clauses: bool) -> Iterator[Span]:
    """List the parts of a sentence that may be removed, the preferred ones first.

    These are clauses behind the first, phrases, words, and last the beginning of the first clause, which names what the
    sentence is about.
    """
    ends = [0, *(match.end() for match in _CLAUSE_END.finditer(sentence)), len(sentence)]
    first, *others = [span for span in pairwise(ends) if span[0] < span[1]]
    yield from others
    if not whole_clauses:
        yield from _endings(sentence, *first)
        for begin, end in others:
            yield from (*_endings(sentence, begin, end), *_beginnings(sentence, begin, end))
        words = [match.span() for match in _WORD.finditer(sentence)]
        for count in range(1, _LONGEST_PHRASE + 1):
            yield from ((words[n][0], words[n + count - 1][1]) for n in range(len(words) - count + 1))
        yield from _beginnings(sentence, *first)
    yield first


def _phrase_starts(sentence: str, begin: int, end: int) -> list[int]:
    return [match.start() for match in _PHRASE_START.finditer(sentence, begin, end)]


def _endings(sentence: str, begin: int, end: int) -> Iterator[Span]:
    """List the ends of a clause that a phrase begins, the shortest first, and single phrases inside it."""
    starts = _phrase_starts(sentence, begin, end)
    yield from ((start, end) for start in reversed(starts))
    yield from pairwise(starts)


def _beginnings(sentence: str, begin: int, end: int) -> Iterator[Span]:
    """List the beginnings of a clause up to a phrase, the shortest first."""
    yield from ((begin, start) for start in _phrase_starts(sentence, begin, end) if start > begin)


def _cut(sentence: str, begin: int, end: int) -> str:
    """Remove a part and repair spaces, punctuation, articles and the capital."""
    before, part, after = sentence[:begin], sentence[begin:end], sentence[end:]
    closing = re.search(r"[,;:.!?)]*\s*$", part)
    assert closing is not None
    if not before or _CLAUSE_END.search(before[-2:]):
        after = _LOOSE_START.sub("", after)
    before = _with_article(before, after)
    text = f"{before}{closing.group()} {after}" if before.strip() else after
    for pattern, replacement in _TIDY:
        text = pattern.sub(replacement, text)
    text = _LOOSE_END.sub("", _LOOSE_START.sub("", text.strip()))
    if not re.search(r"\w", text):
        return ""
    return text[:1].upper() + text[1:] if sentence[:1].isupper() else text


def _with_article(before: str, after: str) -> str:
    """Fit an article at the end of ``before`` to the word that follows now."""
    following = re.search(r"\w", after)
    found = re.search(r"\b(a)n?(?=\s*$)", before, re.IGNORECASE)
    if not following or not found:
        return before
    article = found.group(1) + ("n" if following.group().lower() in "aeiou" else "")
    return f"{before[: found.start()]}{article} "
