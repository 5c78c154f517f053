"""Refusals of a language model, recognized by what the model refuses: to see, to describe, or to help.

Polite words, disclaimers and limits of single observations ("I cannot see any hair") are no refusals.
"""

import re

__all__ = ["asks_for_image", "declines", "refuses"]


def _one_of(*patterns: str) -> str:
    return f"(?:{'|'.join(patterns)})"


_DECLINE = r"(?:respectfully |politely )?(?:decline|refuse)"
_NOT = _one_of(
    r"cannot|can ?not|can't|could(?:n't| not)|won't|will not|do(?:n't| not)",
    r"(?:'m| am|are|was|being)? ?(?:not |un)(?:able|allowed|permitted|designed|trained|programmed|equipped)(?: to)?",
    r"(?:'m| am|are)? ?(?:not |un)(?:comfortable|willing|going)(?: to| with)?",
    r"(?:don't|do not|lack|have no) (?:have )?(?:the )?(?:ability|capability|capacity|tools|permission)(?: to| of)?",
    rf"(?:must|have to|need to|will|'ll|should)? ?{_DECLINE}(?: to)?",
)
_ADVERBS = r"(?:\s(?:be able to|directly|currently|actually|really|physically|visually|yet|even|or|and|,))*\s"
_LOOK = _one_of(
    r"see|view|access|open|load|look at|process|display|read|identify|comment on",
    r"(?:analy[sz]|describ|interpret|evaluat|examin|provid|giv|offer|generat|creat|writ|caption)(?:e|ing)?",
)
_LOOKS = rf"(?:{_LOOK}(?:,? (?:or|and) |, |/))*{_LOOK}"
_FILE = r"(?:image|picture|photo|photograph|file|attachment)"
_OBJECT = (
    _one_of(
        *(r"(?:the|this|that|any|an?|your|such|these|those|of|for|in) ", r"(?:medical|clinical|dermoscopic|visual) "),
        *(r"(?:specific|actual|attached|provided|uploaded|given|submitted|detailed|requested|following) ",),
        r"(?:contents?|details?) ",
    )
    + rf"*(?:{_FILE}|description|caption|scan|x-ray)s?\b"
)
_PRONOUN = (
    r"(?:it|this|that|them|anything)"
    r"(?=\s*(?:[.,;!?]|$)| (?:for you|because|since|as|due|in detail|directly|here)\b)"
)
_GIVEN = r"(?:provided?|attach(?:ed)?|upload(?:ed)?|included?|shared?|sen[dt])"
_REFUSAL = re.compile(
    _one_of(
        rf"\b(?:I|we)(?:\s?(?:am|are|'m|'re))?\b[^.;:!?]{{0,30}}?{_NOT}{_ADVERBS}{_LOOKS} {_OBJECT}",
        rf"(?:\A|[.!?]\s|\bsorry\b[^.]{{0,10}}|\bunfortunately,? )\W*I\b[^.;:!?]{{0,30}}?{_NOT}{_ADVERBS}{_LOOKS} "
        rf"{_PRONOUN}",
        rf"\b(?:cannot|can't|unable to|not able to){_ADVERBS}{_LOOKS} {_OBJECT}",
        r"\b(?:cannot|can't|can not|unable to|not able to|won't|will not) (?:\w+ly )?(?:be able to )?"
        r"(?:help(?! but)|assist|comply|proceed|fulfil+|continue|engage|discuss|answer|do (?:that|this|so))\b",
        rf"\bI (?:(?:must|have to|need to|will|will have to|should) )?{_DECLINE}\b",
        rf"\bno {_FILE}s? (?:(?:was|were|is|are|has been|seems to be) )?(?:\w+ )?"
        rf"(?:{_GIVEN}|given|visible|found|available|received)\b",
        rf"(?<!of )\b(?:the|an?|your|any) {_FILE} (?:\w+ ){{0,3}}?(?:not|cannot|\w+n't) (?:\w+ ){{0,2}}?"
        rf"(?:{_GIVEN}|available|load(?:ed)?|display(?:ed)?|(?:come|go) through|opened|viewed|accessed|processed)\b"
        r"(?! \w+ly\b)",
        rf"\byou (?:haven't|have not|didn't|did not) (?:\w+ )?{_GIVEN}\b",
        r"\btext[- ](?:only|based) (?:ai|model|assistant|language)\b",
        r"\b(?:against|violates?|outside|beyond) (?:my|our|the) (?:\w+ )?"
        r"(?:guidelines|polic(?:y|ies)|programming|capabilities)",
    ),
    re.IGNORECASE,
)
_PLEASE = r"\bplease (?:\w+ )?(?:re-?)?(?:provide|upload|attach|share|send)\b"
_BEGINS_WITH_REQUEST = re.compile(rf"\A[^.:]{{0,40}}{_PLEASE}", re.IGNORECASE)
_DECLINES = re.compile(
    rf"\b(?:I|we)\b[^.;:!?]{{0,40}}?{_NOT}|\b(?:sorry|apolog)|\bas an? (?:ai|language|large) (?:language )?model"
    rf"|{_PLEASE}",
    re.IGNORECASE,
)


def refuses(text: str) -> bool:
    """Return True if a statement refuses to see or describe the image, or to help, or finds no image."""
    return bool(_REFUSAL.search(text.replace("’", "'")))


def asks_for_image(text: str) -> bool:
    """Return True if a text begins with a request for an image; behind a description it is an offer."""
    return bool(_BEGINS_WITH_REQUEST.search(text.replace("’", "'")))


def declines(text: str) -> bool:
    """Return True if a text without a description declines anything; too broad for a text with one."""
    return refuses(text) or bool(_DECLINES.search(text.replace("’", "'")))
