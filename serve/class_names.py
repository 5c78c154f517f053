"""Classes that a text names."""

import re
from collections.abc import Sequence

__all__ = ["class_named_by", "class_named_in"]

_Place = tuple[int, int, int]
"""Begin, end and label of a name in a text."""
LEAST_LETTERS = 3
"""Letters of a name that prose may write in another case: "as" is seldom the class AS."""


def class_named_by(text: str, names: Sequence[str]) -> int | None:
    """Find the class whose name a text is: exactly, or else in another case if only one fits."""
    text = text.strip()
    if text in names:
        return names.index(text)
    folded = [label for label, name in enumerate(names) if name.casefold() == text.casefold()]
    return folded[0] if len(folded) == 1 else None


def class_named_in(text: str, names: Sequence[str]) -> int | None:
    """Find the only class that a text names: as its name is written, or else in another case.

    A name of several words may be written with spaces, hyphens or underscores. A name within a longer one that the text
    has too does not count. Numbers are no names here.
    """
    written = {label: name for label, name in enumerate(names) if not name.isdecimal()}
    exact = [place for label, name in written.items() for place in _places(text, name, label, 0)]
    loose = [
        place
        for label, name in written.items()
        if sum(map(str.isalpha, name)) >= LEAST_LETTERS
        for place in _places(text, name, label, re.IGNORECASE)
    ]
    found = _outermost(exact, exact + loose) or _outermost(loose, loose)
    return found.pop() if len(found) == 1 else None


def _places(text: str, name: str, label: int, flags: int) -> list[_Place]:
    return [(*place.span(), label) for place in re.finditer(rf"(?<!\w){_pattern(name)}(?!\w)", text, flags)]


def _outermost(places: Sequence[_Place], among: Sequence[_Place]) -> set[int]:
    """Get the labels of places that are within no longer one."""
    return {
        label
        for begin, end, label in places
        if not any(first <= begin and end <= last and last - first > end - begin for first, last, _ in among)
    }


def _pattern(name: str) -> str:
    return r"[\s_-]+".join(re.escape(word) for word in re.split(r"[\s_-]+", name))
