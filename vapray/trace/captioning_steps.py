"""Three steps of the captioning of an image (VAPS): questions and answers, as the table ``captions`` keeps them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from vapray.captioning.factory import uses_language_model
from vapray.trace.missing import Missing
from vapray.trace.traced_image import Row, TracedImage
from vapray.trace.traced_run import TracedRun

__all__ = ["CaptioningSteps", "Step", "captioning_steps"]

IMPRESSION, KNOWLEDGE, CAPTION = "1 · Impression", "2 · Knowledge", "3 · Caption"
ASKED = {
    "direct": (CAPTION,),
    "impression": (IMPRESSION,),
    "impression+knowledge": (IMPRESSION, KNOWLEDGE),
    "vaps": (IMPRESSION, KNOWLEDGE, CAPTION),
}
"""Questions that each strategy asks."""
WITHOUT_STEPS = {
    "precomputed": "This caption was given by the user, so there is no impression and no knowledge text.",
    "ground_truth": "This caption words the true attributes of a phantom, so there is no impression and no knowledge "
    "text.",
    "measured": "Image analysis wrote these texts from templates; no question was asked.",
}


@dataclass(frozen=True)
class Step:
    """One step. Empty texts are not shown."""

    name: str
    question: str
    answer: str
    note: str = ""


@dataclass(frozen=True)
class CaptioningSteps:
    """Steps of the captioning of one image."""

    steps: Sequence[Step]
    notes: Sequence[str]
    facts: Sequence[tuple[str, str]]
    """Model, strategy and settings, by name."""


def captioning_steps(run: TracedRun, image: TracedImage) -> CaptioningSteps | Missing:
    """Read the steps of an image, or of the image that a sample's caption describes."""
    row = image.captioned
    if row is None:
        if image.reject:
            return Missing(f"The image has no caption: {image.reject}.")
        return Missing("The run has no captioning steps of this caption.")
    asks = uses_language_model(run.config)
    return CaptioningSteps(_steps(run, row, asks), [*_notes(run, image, row, asks)], _facts(row))


def _steps(run: TracedRun, row: Row, asks: bool) -> list[Step]:
    knowledge = run.lineage.manifests["caption"].notes.get("knowledge", {})
    questions = run.prompt_set.questions
    texts = (
        (IMPRESSION, questions.impression, row["impression"]),
        (KNOWLEDGE, questions.knowledge, knowledge.get(row["knowledge_id"], "")),
        (CAPTION, questions.reasoning, row["caption"]),
    )
    asked = ASKED[row["strategy"]]
    return [
        Step(name, question if asks and name in asked else "", answer, _step_note(name, row, asks))
        for name, question, answer in texts
        if answer
    ]


def _step_note(name: str, row: Row, asks: bool) -> str:
    if not asks:
        return ""
    if name == KNOWLEDGE:
        return "Asked without the image, once for all images that share this text."
    if name == CAPTION and name not in ASKED[row["strategy"]]:
        return f"Strategy {row['strategy']} asks no third question: the caption consists of the texts above."
    return ""


def _notes(run: TracedRun, image: TracedImage, row: Row, asks: bool) -> list[str]:
    notes = [] if asks else [WITHOUT_STEPS[run.config.caption.captioner]]
    if asks and row["strategy"] == "direct":
        notes.append("Strategy direct asks the third question only.")
    requests = len([name for name in ASKED[row["strategy"]] if name != KNOWLEDGE])
    if asks and row["attempts"] > requests:
        notes.append(
            f"Rejected answers: {row['attempts'] - requests} of {row['attempts']}. Each was requested again; the table "
            "keeps their number, not their text."
        )
    elif asks:
        notes.append("No answer was rejected.")
    if row["finish_reason"] == "length":
        notes.append("The answer reached caption.max_tokens and ends with its last complete sentence.")
    if image.caption and image.caption != row["caption"]:
        notes.append(f"The network is conditioned on a shorter text: {image.caption}")
    return notes


def _facts(row: Row) -> list[tuple[str, str]]:
    texts = {
        "Captioner": f"{row['model']}, revision {row['revision']}",
        "Strategy": row["strategy"],
        "Prompt set": row["prompt_version"],
        "Settings": ", ".join(f"{name} {value}" for name, value in json.loads(row["sampling"]).items()),
        "Tokens": _tokens(row) if row["prompt_tokens"] else "",
        "Cache key": row["cache_key"],
    }
    return [(name, text) for name, text in texts.items() if text]


def _tokens(row: Row) -> str:
    read, cached, written = (f"{row[f'{name}_tokens']:,}" for name in ("prompt", "cached", "completion"))
    return f"{read} read, {cached} of them from the cache, {written} written"
