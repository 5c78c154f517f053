"""Parser of sizes: per cents, ranges, fractions and size words, each with its subject."""

import re
from collections.abc import Iterator
from functools import lru_cache

from vapray.captioning.prompt_set import AttributeSpec, PromptSet
from vapray.captioning.text import negated_spans, normalize

LINK = (
    r"(?: (?:(?:immediately |directly )?(?:surrounding|around|next to|adjacent to) (?:the lesion|it)|surrounding"
    r"|adjacent|perilesional|underlying|nearby|is|are|appears?|looks?|seems?|shows?|exhibits?|displays?|demonstrates?|has|have|of"
    r"|a|an|the|its|with|mostly|mainly|slightly|generally|rather|quite|very|fairly|somewhat|overall|in|and|or|to|be|being"
    r"|colour|coloured|tone|toned|predominantly|relatively|uniform|uniformly|mottled|irregular|lighter|darker|normal"
    r"|healthy))"
)
"""Words that may link a subject and its description."""

_ONE = r"(?:about |roughly |nearly |almost |approximately )?(?:a|one)[ -]"
_FRACTIONS = (
    (r"three[ -]quarters|3/4", 0.75),
    (r"two[ -]thirds|2/3", 0.667),
    (_ONE + r"third|1/3", 0.333),
    (_ONE + r"quarter|one[ -]fourth|1/4", 0.25),
    (_ONE + r"fifth|1/5", 0.2),
    (_ONE + r"sixth|1/6", 0.167),
    (_ONE + r"eighth|1/8", 0.125),
    (_ONE + r"tenth|1/10", 0.1),
    (r"(?<!upper )(?<!lower )(?<!left )(?<!right )(?<!other )half", 0.5),
)
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)%?(?: ?(?:-|to|and) ?(\d+(?:\.\d+)?))?%")
_MOST = re.compile(r"\b(?:most|majority|much|bulk) of the (?:image|picture|frame|field|view|photograph)")
_MOST_SHARE = 0.65
_OTHER_ADJECTIVE = r"(?: (?!in|of|on|and|with|near|or)\w+)?"
_SENTENCE_END = re.compile(r"\. |; |$")
_FOLLOWS, _COMMA = 40, 25
"""Added distance, in characters, of a subject that follows its number, and of a comma between them."""


def parse_sizes(plain: str, prompt_set: PromptSet) -> dict[str, float]:
    """Return the share that a normalized text states for each ``share`` attribute it mentions."""
    specs = {name: spec for name, spec in prompt_set.attributes.items() if spec.kind == "share"}
    found: dict[str, float] = {}
    for start, end, share in _numbers(plain):
        name = _nearest_attribute(plain, start, end, specs)
        if name is not None and 0 <= share <= 1:
            found.setdefault(name, share)
    for name, spec in specs.items():
        if name not in found and (share_word := _size_word(plain, spec, prompt_set)):
            found[name] = spec.typical_share(share_word)
    if len(specs) == 1 and not found and _MOST.search(plain):
        found[next(iter(specs))] = _MOST_SHARE
    return found


def _numbers(plain: str) -> Iterator[tuple[int, int, float]]:
    found = []
    for match in _NUMBER.finditer(plain):
        ends = [float(group) for group in match.groups() if group]
        found.append((match.start(), match.end(), sum(ends) / len(ends) / 100))
    for pattern, share in _FRACTIONS:
        found += [(m.start(), m.end(), share) for m in re.finditer(rf"\b(?:{pattern})\b", plain)]
    yield from sorted(found)


def _nearest_attribute(plain: str, start: int, end: int, specs: dict[str, AttributeSpec]) -> str | None:
    """Return the attribute whose subject is nearest to the number, in the same sentence."""
    first = max(plain.rfind(". ", 0, start), plain.rfind("; ", 0, start)) + 1
    sentence_end = _SENTENCE_END.search(plain, end)
    last = sentence_end.start() if sentence_end else len(plain)
    if any(_is_decoy(plain[first:start], spec) for spec in specs.values()):
        return None
    best: dict[str, int] = {}
    for name, spec in specs.items():
        for match in _subject(spec).finditer(plain, first, last):
            best[name] = min(best.get(name, 10**6), _distance(plain, match, start, end))
    if best:
        return min(best, key=lambda name: best[name])
    return next(iter(specs)) if len(specs) == 1 else None


def _distance(plain: str, subject: re.Match[str], start: int, end: int) -> int:
    if subject.start() < start:
        between = plain[subject.end() : start]
        return len(between) + _COMMA * between.count(",")
    between = plain[end : subject.start()]
    return len(between) + _COMMA * between.count(",") + _FOLLOWS


def _is_decoy(before: str, spec: AttributeSpec) -> bool:
    return bool(spec.decoys) and _decoy(spec).search(before) is not None


@lru_cache(maxsize=64)
def _decoy(spec: AttributeSpec) -> re.Pattern[str]:
    """Return a pattern for "the skin covers about": the number that follows is another thing's."""
    verb = r"(?:covers?|occup(?:y|ies)|fills?|makes? up|takes? up|accounts? for|represents?|is|are)"
    return re.compile(rf"{_any_of(spec.decoys)}(?: \w+){{0,2}} {verb}(?: \w+){{0,2}} $")


@lru_cache(maxsize=64)
def _subject(spec: AttributeSpec) -> re.Pattern[str]:
    return re.compile(_any_of(spec.subjects))


def _any_of(phrases: tuple[str, ...]) -> str:
    return rf"\b(?:{'|'.join(re.escape(normalize(phrase)) for phrase in phrases)})s?\b"


def _size_word(plain: str, spec: AttributeSpec, prompt_set: PromptSet) -> str | None:
    """Return the first size word that is next to one of the attribute's subjects and is not denied."""
    denied = negated_spans(plain)
    found = [
        (match.start(), value)
        for value, pattern in _size_patterns(spec, prompt_set).items()
        for match in pattern.finditer(plain)
        if not any(start <= match.start() < end for start, end in denied)
    ]
    return min(found)[1] if found else None


@lru_cache(maxsize=64)
def _size_patterns(spec: AttributeSpec, prompt_set: PromptSet) -> dict[str, re.Pattern[str]]:
    subject, between = _any_of(spec.subjects), rf"(?:{LINK}|{_describing_words(prompt_set)})"
    words = {value: _any_of(spec.words[value] + spec.reads.get(value, ())) for value in spec.values}
    return {
        value: re.compile(
            rf"{word},?{between}{{0,6}}{_OTHER_ADJECTIVE} {subject}"
            rf"|{subject}:?{LINK}{{0,4}} {word}|{word} in size"
        )
        for value, word in words.items()
    }


def _describing_words(prompt_set: PromptSet) -> str:
    """Return a pattern for any word of the phrases: these may link size word and subject."""
    words = {
        word
        for spec in prompt_set.attributes.values()
        for phrases in (*spec.words.values(), *spec.reads.values())
        for phrase in phrases
        for word in normalize(phrase).split()
    }
    return rf"(?: (?:{'|'.join(sorted(map(re.escape, words)))}),?)"
