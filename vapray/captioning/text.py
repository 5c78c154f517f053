"""Normalization of plain text: one spelling, and the spans that a negation covers."""

import re

_SPELLING = (
    (r"[‐-―−]", "-"),
    (r"[‘’]", "'"),
    (r"[*_#`\"“”]", " "),
    (r"[()\[\]]", " , "),
    (r"\bper ?cent\b", "%"),
    (r"\s+%", "%"),
    (r"\bgray", "grey"),
    (r"\bcolor", "colour"),
    (r"\bcenter", "centre"),
    (r"(?<=[a-z])-(?=[a-z])", " "),
    (r"\bn't\b|n't\b", " not"),
    (r"\s+([,.;:])", r"\1"),
    (r"\s+", " "),
)

_NEGATOR = re.compile(
    r"\b(?:no(?! (?:more|larger|less|wider|bigger) than)|not(?! (?:only|just|exceed\w*))|without"
    r"|lack(?:s|ing)?|absen(?:ce of|t)|free (?:of|from)|never|neither|nor)\b"
)
_STOP = re.compile(
    r"[.;:]| (?:but|however|although|though|instead|rather|yet|with|on|against|while|is|are|shows?)\b"
    r"| in (?:a|an|the)\b| and (?=(?:the|a|an|its|is|are|it|there|has)\b)"
)
_LIST_REST = re.compile(r"(?:, [\w ]{1,30}){0,4},? (?:or|nor) [^,]*")


def normalize(text: str) -> str:
    """Normalize to lower case, British spelling, spaces for hyphens, ``%`` for per cent, no Markdown."""
    text = text.lower()
    for pattern, replacement in _SPELLING:
        text = re.sub(pattern, replacement, text)
    return text.strip()


def negated_spans(plain: str) -> list[tuple[int, int]]:
    """Return (start, end) of what each negator covers: up to the clause's end, over lists joined by "or"."""
    return [(match.end(), _scope_end(plain, match)) for match in _NEGATOR.finditer(plain)]


def _scope_end(plain: str, negator: re.Match[str]) -> int:
    stop = _STOP.search(plain, negator.end())
    end = stop.start() if stop else len(plain)
    if negator.group() == "not" and (joint := plain.find(" and ", negator.end(), end)) >= 0:
        end = joint
    comma = plain.find(",", negator.end(), end)
    if comma < 0:
        return end
    rest = _LIST_REST.match(plain, comma, end)
    return rest.end() if rest else comma
