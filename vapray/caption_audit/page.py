"""HTML page of the caption audit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vapray.caption_audit.experts import ExpertFindings
from vapray.caption_audit.findings import CaptionErrors, Consistency, Findings
from vapray.caption_audit.other_captions import OtherCaptions
from vapray.caption_audit.proportions import Proportion
from vapray.caption_audit.trust import AttributeTrust
from vapray.captioning.attributes import Attribute
from vapray.report.number_format import interval_text, percent
from vapray.report.page import Image, page, sides

__all__ = ["MEASURED", "WORST_SIDE", "Audit", "WorstCaption", "render_audit"]

MEASURED = "measured captions"
"""Name of the measured captioner in reports."""
LITTLE, HALF = 0.15, 0.5
"""Shares of the contradictions by chance that captions avoid: below the first they say next to nothing."""
WORST_SIDE = 192
"""Side of the images with wrong captions, in pixels."""


@dataclass(frozen=True)
class WorstCaption:
    """Image, RGB uint8 [S, S, 3], with a caption that it contradicts."""

    image: Image
    caption: str
    found: CaptionErrors


@dataclass(frozen=True)
class Audit:
    """Contents of the page.

    Attributes:
        modality: Modality, as text.
        captioner: Model that wrote the captions.
        reference: Reference of the claims: ``truth``, ``measurement`` or ``nothing``.
        created: Date and time, as text.
        captions: Number of captions in the complete run.
        rejects: Number of images without a caption, by the code of the reason.
        omitted: Attributes that the captioner was instructed to omit.
        findings: Results for the drawn captions.
        consistency: Agreement of repeated captions of the same images; None without repeated captions.
        others: Audits of other runs' captions of the same images.
        experts: Summary of expert ratings; None without ratings.
        worst: Images whose captions have the most contradicted claims.
        trust: Trust in each attribute, by the training images; empty unless ``caption.trust`` is ``audited``.
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
    trust: Sequence[AttributeTrust] = ()


def render_audit(audit: Audit) -> str:
    """Render ``index.html``: self-contained, without scripts; all text is escaped."""
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
        return "No statement could be checked"
    return f"{percent(found.value)} of the statements contradict their image"


def _meaning(audit: Audit) -> str:
    found, chance = audit.findings.contradicted, audit.findings.by_chance
    if found is None or chance is None:
        return "Have experts rate the rating sheet, or use phantoms, whose true attributes are known."
    other = f"The same statements would contradict {percent(chance)} of other images"
    if found.interval.low > chance:
        return f"{other}: these captions are worse than shuffled captions."
    if found.interval.high >= chance:
        return f"{other}: the captions are not distinguishable from shuffled captions."
    fewer = 1 - found.value / chance
    extent = "next to nothing about" if fewer < LITTLE else "little about" if fewer < HALF else "what is in"
    return (
        f"{other}, so {percent(fewer)} of these contradictions are avoided: the captions say {extent} their own image."
    )


def _rate(found: Proportion | None) -> str:
    """Format a share as ``12 % (9 to 16)``, or a dash."""
    if found is None:
        return percent(None)
    return f"{percent(found.value)} ({interval_text(found.interval, percent)})"


def _value(value: Attribute) -> str:
    if isinstance(value, float):
        return percent(value)
    return value if isinstance(value, str) else ", ".join(value)
