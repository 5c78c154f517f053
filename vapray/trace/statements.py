"""Statements of a caption with the verdicts of the caption audit."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from vapray.caption_audit.claims import claims_of
from vapray.captioning.attributes import Attribute, Attributes, attributes_from_json
from vapray.captioning.caption_parser import parse_caption
from vapray.captioning.statement_spans import stated_values, statement_spans
from vapray.config.captioning import MEASURED_MODALITY
from vapray.data.dataset import true_attributes
from vapray.errors import DataError
from vapray.report.number_format import percent
from vapray.trace.missing import Missing, run_stage
from vapray.trace.traced_image import Row, TracedImage
from vapray.trace.traced_run import TracedRun, rows_with

__all__ = ["CheckedCaption", "Segment", "Statement", "Verdict", "checked_caption"]

Verdict = Literal["contradicted", "consistent", "unchecked"]
ORDER: tuple[Verdict, ...] = ("contradicted", "consistent", "unchecked")
"""Order of verdicts: of several statements in the same words the first one's is shown."""
TRUTH = "the true attributes of the phantom"
NOT_DRAWN = "The audit did not draw this caption, so its rates do not include it."
MORE = "raise caption_audit.images and run the audit again"
MEASUREMENT = "the attributes that image analysis measures in the image"


@dataclass(frozen=True)
class Statement:
    """One statement of the caption."""

    attribute: str
    said: str
    known: str
    """Value in the real image; empty if it is not known."""
    verdict: Verdict
    made: str
    """Value that image analysis measures in the generated image; empty if it was not measured."""
    made_verdict: Verdict


@dataclass(frozen=True)
class Segment:
    """Piece of the caption's text."""

    text: str
    verdict: Verdict | None
    """Verdict of the statements in these words; None for other words."""
    title: str = ""
    """Statements in these words."""


@dataclass(frozen=True)
class CheckedCaption:
    """Caption of a trace, checked against its image."""

    segments: Sequence[Segment]
    statements: Sequence[Statement]
    reference: str
    """Source of the known values; empty if nothing was checked."""
    note: str
    """Reason why statements are not checked; empty if there is none."""

    def count(self, verdict: Verdict) -> int:
        """Count the statements with a verdict."""
        return sum(one.verdict == verdict for one in self.statements)


def checked_caption(run: TracedRun, image: TracedImage) -> CheckedCaption | Missing:
    """Mark each statement of the caption as contradicted, consistent or not checked, as the caption audit does.

    The caption of a sample is checked against the real image that it describes, and beside it against the sample.
    """
    text = image.sample["caption"] if image.sample else image.captioned["caption"] if image.captioned else ""
    if not text:
        return Missing(image.no_caption)
    said = parse_caption(text, run.prompt_set)
    known, reference, note = _known(run, image)
    made = _measured_in_sample(run, image)
    verdicts, made_verdicts = (_verdicts(run, said, some) for some in (known, made))
    statements = [
        Statement(
            name,
            worded(value),
            worded(known[name]) if name in known else "",
            verdicts.get((name, value), "unchecked"),
            worded(made[name]) if name in made else "",
            made_verdicts.get((name, value), "unchecked"),
        )
        for name, value in stated_values(said)
    ]
    if not statements:
        note = "The lexicon of the caption audit reads no statement in this caption."
    return CheckedCaption(_segments(run, text, verdicts), statements, reference, note)


def worded(value: Attribute) -> str:
    """Format a value: a share as percent, a set as a list."""
    if isinstance(value, float):
        return percent(value)
    return value if isinstance(value, str) else ", ".join(value)


def _known(run: TracedRun, image: TracedImage) -> tuple[Attributes, str, str]:
    """Known attributes of the real image, their source, and a note if there are none or the audit did not draw it."""
    if image.source is None:
        return {}, "", "Not checked: the caption is of no image of this run."
    if run.audit is None:
        return {}, "", f"Not checked: this run has no caption audit. Fix: {run_stage(run.root, 'audit')}."
    rows = rows_with(run.audit_measurements, image_id=image.source["image_id"])
    try:
        truth = true_attributes(run.config)
    except DataError as error:
        return {}, "", f"Not checked: the true attributes are gone: {error}."
    if truth is None:
        return _measured(run, rows)
    return truth.get(image.source["image_id"], {}), TRUTH, "" if rows else NOT_DRAWN


def _measured(run: TracedRun, rows: Sequence[Row]) -> tuple[Attributes, str, str]:
    """Attributes that the audit measured."""
    if rows and rows[0]["measured"]:
        return attributes_from_json(rows[0]["measured"]), MEASUREMENT, ""
    if run.config.caption.captioner == "measured":
        return {}, "", "Not checked: captions by image analysis are not audited by the same image analysis."
    if run.config.data.modality != MEASURED_MODALITY:
        return {}, "", f"Not checked: no attributes are measured in {run.prompt_set.name.replace('_', ' ')} images."
    return {}, "", f"Not checked: the caption audit did not draw this caption. Fix: {MORE}."


def _measured_in_sample(run: TracedRun, image: TracedImage) -> Attributes:
    if not image.sample:
        return {}
    rows = run.rows("measurements", key=image.key)
    found = rows[0]["attributes"] if rows else None
    return attributes_from_json(found) if found and json.loads(found) else {}


def _verdicts(run: TracedRun, said: Attributes, known: Attributes) -> Mapping[tuple[str, str | float], Verdict]:
    return {
        (claim.attribute, claim.said): "contradicted" if claim.contradicted else "consistent"
        for claim in claims_of(said, known, run.prompt_set)
    }


def _segments(run: TracedRun, text: str, verdicts: Mapping[tuple[str, str | float], Verdict]) -> list[Segment]:
    """Cut the text at the ends of all places of statements."""
    spans = statement_spans(text, run.prompt_set)
    cuts = sorted({0, len(text), *(one.start for one in spans), *(one.end for one in spans)})
    segments = []
    for begin, end in pairwise(cuts):
        here = [one for one in spans if one.start <= begin and end <= one.end]
        found = [verdicts.get((one.attribute, one.value), "unchecked") for one in here]
        title = ", ".join(dict.fromkeys(f"{one.attribute.replace('_', ' ')}: {worded(one.value)}" for one in here))
        segments.append(Segment(text[begin:end], min(found, key=ORDER.index) if found else None, title))
    return segments
