"""Parser of captions: free text to attributes, by a lexicon instead of a language model.

It matches phrases of the prompt set, longest first, with negation ("no", "without", "not") and, for words that several
attributes share, the subject next to them ("the surrounding skin is pale").
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from vapray.captioning.attributes import Attributes
from vapray.captioning.prompt_set import AttributeSpec, PromptSet
from vapray.captioning.size_parser import LINK, parse_sizes
from vapray.captioning.text import negated_spans, normalize

_CLOSED = (
    r"(?=[,.;:]|$| (?:tone|colour|colouration|hue|and|with|or|in|on|but|while|around|to|appearance|overall|texture)\b)"
)
"""Text that may follow an adjective after its subject: not another noun ("the skin has a dark lesion")."""


@dataclass(frozen=True)
class AttributeMention:
    """Phrase that states or denies a value of an attribute."""

    attribute: str
    value: str
    denied: bool


def parse_caption(text: str, prompt_set: PromptSet) -> Attributes:
    """Parse the attributes that a caption states; others are absent.

    If a text contradicts itself on a choice, the first statement counts. A denied value of a choice
    between two means the other one. A size word counts only without a number.
    """
    plain = _rewritten(normalize(text), prompt_set)
    statements = list(_statements(plain, prompt_set))
    found: Attributes = {}
    for name, spec in prompt_set.attributes.items():
        about = [statement for statement in statements if statement.attribute == name]
        if spec.kind == "choice" and (value := _choice(about, spec)):
            found[name] = value
        elif spec.kind == "set" and (members := {s.value for s in about if not s.denied}):
            found[name] = tuple(sorted(members))
    return found | parse_sizes(plain, prompt_set) | implied_attributes(found, prompt_set)


def _rewritten(plain: str, prompt_set: PromptSet) -> str:
    for phrase, replacement in prompt_set.rewrite.items():
        plain = re.sub(rf"\b{re.escape(normalize(phrase))}\b", replacement, plain)
    return plain


def _choice(statements: list[AttributeMention], spec: AttributeSpec) -> str | None:
    stated = [s.value for s in statements if not s.denied]
    if stated:
        return stated[0]
    left = [value for value in spec.values if value not in {s.value for s in statements}]
    return left[0] if statements and len(left) == 1 else None


def implied_attributes(found: Attributes, prompt_set: PromptSet) -> Attributes:
    """Return the attributes that other attributes imply: without an opacity, its size is 0."""
    return {
        name: value
        for attribute, by_value in prompt_set.implies.items()
        for name, value in by_value.get(str(found.get(attribute)), {}).items()
    }


def _statements(plain: str, prompt_set: PromptSet) -> Iterator[AttributeMention]:
    reader = _reader(prompt_set)
    denied = negated_spans(plain)
    for match in reader.pattern.finditer(plain):
        inside_denial = any(start <= match.start() < end for start, end in denied)
        for attribute, value in reader.meanings[str(match.lastgroup)]:
            yield AttributeMention(attribute, value, inside_denial)


@dataclass(frozen=True)
class _Reader:
    pattern: re.Pattern[str]
    """One named group per phrase; the longest match at a position wins."""
    meanings: dict[str, list[tuple[str, str]]]
    """Group name -> (attribute, value) pairs; none for an ignored phrase."""


@lru_cache(maxsize=16)
def _reader(prompt_set: PromptSet) -> _Reader:
    meant: dict[str, list[tuple[str, str]]] = {re.escape(normalize(phrase)): [] for phrase in prompt_set.ignore}
    beside: dict[str, list[tuple[str, str]]] = {}
    for name, spec in prompt_set.attributes.items():
        if spec.kind == "share":
            continue
        for value in spec.values:
            for phrase in spec.words[value] + spec.reads.get(value, ()):
                meant.setdefault(re.escape(normalize(phrase)), []).append((name, value))
            for phrase in spec.beside.get(value, ()):
                beside.setdefault(_beside(normalize(phrase), spec), []).append((name, value))
    patterns = [*sorted(beside, key=len, reverse=True), *sorted(meant, key=len, reverse=True)]
    groups = [rf"(?P<p{i}>\b(?:{pattern})(?!\w))" for i, pattern in enumerate(patterns)]
    meanings = {f"p{i}": (beside | meant)[pattern] for i, pattern in enumerate(patterns)}
    return _Reader(re.compile("|".join(groups)), meanings)


def _beside(phrase: str, spec: AttributeSpec) -> str:
    word = re.escape(phrase)
    subject = rf"(?:{'|'.join(re.escape(normalize(s)) for s in spec.subjects)})s?"
    return rf"{word}(?:,{LINK}? \w+)?{LINK}{{0,3}} {subject}|{subject}:?{LINK}{{0,6}} {word}{_CLOSED}"
