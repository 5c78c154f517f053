"""The three steps of VAPS, as the table keeps them for each captioner and strategy."""

from dataclasses import replace
from typing import Any

import pytest

from vapray.trace import Trace
from vapray.trace.captioning_steps import CaptioningSteps, captioning_steps
from vapray.trace.missing import Missing
from vapray.trace.traced_run import TracedRun


def steps(root: str, traced: Trace, captioner: str, **row: Any) -> CaptioningSteps:
    """Steps of a run with this captioner, whose row of ``captions`` has these values."""
    run = TracedRun(root)
    caption = run.config.caption.model_copy(update={"captioner": captioner})
    run.config = run.config.model_copy(update={"caption": caption})
    found = captioning_steps(run, replace(traced.image, captioned={**(traced.image.captioned or {}), **row}))
    assert isinstance(found, CaptioningSteps)
    return found


def test_a_language_models_steps_have_questions_and_the_number_of_rejected_answers(root: str, traced: Trace) -> None:
    found = steps(root, traced, "vllm", strategy="vaps", attempts=4, prompt_tokens=900, finish_reason="length")
    assert [step.name for step in found.steps] == ["1 · Impression", "2 · Knowledge", "3 · Caption"]
    assert all(step.question and step.answer for step in found.steps)
    assert found.steps[0].question.startswith("You are an AI visual assistant")
    assert any("Rejected answers: 2 of 4" in note for note in found.notes)
    assert any("caption.max_tokens" in note for note in found.notes)
    assert dict(found.facts)["Tokens"].startswith("900 read")


@pytest.mark.parametrize(
    ("strategy", "impression", "knowledge_id", "asked"),
    [("direct", "", "", [False, False, True]), ("impression", "seen", "", [True, False, False])],
)
def test_only_the_questions_of_the_strategy_are_shown(
    root: str, traced: Trace, strategy: str, impression: str, knowledge_id: str, asked: list[bool]
) -> None:
    row = {"strategy": strategy, "impression": impression, "knowledge_id": knowledge_id, "attempts": 1}
    found = steps(root, traced, "openai", **row)
    shown = {step.name[0]: bool(step.question) for step in found.steps}
    assert [shown.get(number, False) for number in "123"] == asked
    assert "No answer was rejected." in found.notes


@pytest.mark.parametrize(("captioner", "words"), [("precomputed", "given by the user"), ("measured", "no question")])
def test_a_captioner_without_questions_says_so(root: str, traced: Trace, captioner: str, words: str) -> None:
    found = steps(root, traced, captioner, impression="", knowledge_id="")
    assert [step.name for step in found.steps] == ["3 · Caption"]
    assert words in found.notes[0] and not any(step.question for step in found.steps)


def test_a_shorter_text_for_the_network_is_shown(root: str, traced: Trace) -> None:
    found = steps(root, traced, "measured", caption="A round lesion with an irregular border.")
    assert any(f"shorter text: {traced.image.caption}" in note for note in found.notes)


def test_a_rejected_image_and_a_foreign_caption_have_no_steps(root: str, traced: Trace) -> None:
    run = TracedRun(root)
    for reject, words in (("rejected as refusal: no", "rejected as refusal: no"), ("", "no captioning steps")):
        found = captioning_steps(run, replace(traced.image, captioned=None, reject=reject))
        assert isinstance(found, Missing) and words in found.why
