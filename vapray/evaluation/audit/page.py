"""The audit as a page for a person who has to decide whether to train on these captions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vapray.captioning.attributes import Attribute
from vapray.evaluation.audit.experts import ExpertFindings
from vapray.evaluation.audit.findings import Consistency, Findings, WorstPicture
from vapray.evaluation.audit.other_captions import OtherCaptions
from vapray.evaluation.audit.rates import Rate
from vapray.evaluation.report.content import Image
from vapray.evaluation.report.page import page, sides
from vapray.evaluation.report.wording import interval_text, percent

__all__ = ["MEASURED", "WORST_SIDE", "Audit", "WorstCaption", "render_audit"]

MEASURED = "measured captions"
"""Name of the measured captioner in reports."""
WORST_SIDE = 192
"""Pixels of the pictures beside what their captions have wrong."""


@dataclass(frozen=True)
class WorstCaption:
    """A picture, RGB uint8 [S, S, 3], beside a caption that it contradicts."""

    image: Image
    caption: str
    found: WorstPicture


@dataclass(frozen=True)
class Audit:
    """All that the page shows.

    Attributes:
        modality: in words.
        captioner: who wrote the captions.
        reference: what they were held against: ``truth``, ``measurement`` or ``nothing``.
        created: when, for a reader.
        captions: in the whole run.
        rejects: images without a caption, by the code of the reason.
        omitted: attributes that the captioner was told to leave out.
        findings: of the drawn captions.
        consistency: of further captions of the same pictures with each other; None where none were made.
        others: other runs' captions of the same pictures.
        experts: None where no ratings were given.
        worst: pictures whose captions have most wrong.
    """

    modality: str
    captioner: str
    reference: str
    created: str
    captions: int
    rejects: Mapping[str, int]
    omitted: Sequence[str]
    findings: Findings
    consistency: Consistency | None
    others: Sequence[OtherCaptions]
    experts: ExpertFindings | None
    worst: Sequence[WorstCaption]


def render_audit(audit: Audit) -> str:
    """The page ``index.html``: style and pictures inside, no scripts, every text escaped."""
    return page(
        "audit.html.jinja",
        audit=audit,
        headline=_headline(audit),
        meaning=_meaning(audit),
        rate=_rate,
        value=_value,
        sides=sides([one.image for one in audit.worst]),
    )


def _headline(audit: Audit) -> str:
    found = audit.findings.contradicted
    if audit.reference == "nothing":
        if audit.captioner == MEASURED:
            return "Measured captions of real images cannot be audited by the same measurements"
        return f"These captions were not checked: no attributes are measured in {audit.modality}"
    if found is None:
        return "Not one statement could be checked"
    return f"{percent(found.value)} of the statements contradict their picture"


def _meaning(audit: Audit) -> str:
    found, chance = audit.findings.contradicted, audit.findings.by_chance
    if found is None or chance is None:
        return "Have experts rate the sheet beside this page, or draw phantoms, whose true attributes are known."
    other = f"The same statements would contradict {percent(chance)} of other pictures"
    if found.interval.high < chance:
        return f"{other}: the captions tell of their own picture."
    if found.interval.low > chance:
        return f"{other}: these captions are worse than captions that were mixed up."
    return f"{other}: it cannot be told that the captions look at their picture at all."


def _rate(found: Rate | None) -> str:
    """``12 % (9 to 16)``, or a dash."""
    if found is None:
        return percent(None)
    return f"{percent(found.value)} ({interval_text(found.interval, 'percent')})"


def _value(value: Attribute) -> str:
    if isinstance(value, float):
        return percent(value)
    return value if isinstance(value, str) else ", ".join(value)
