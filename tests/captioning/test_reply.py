"""Answers of thinking models, answers that are cut off, and what the next turn repeats of an answer."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from vapray.captioning.caption_session import PromptingOptions
from vapray.captioning.captioner import CaptionDraft, CaptionReject
from vapray.captioning.chat import ChatCompletion, DecodingParams, EventLoop, Messages
from vapray.captioning.prompt_set import load_prompt_set
from vapray.captioning.reasoning import opened_reasoning
from vapray.captioning.reply import UnusableAnswerError, read_reply
from vapray.captioning.vaps import VapsCaptioner

IMAGE = np.zeros((32, 32, 3), np.uint8)
BROWN = "A large brown lesion."
MARKDOWN = "Here's a description:\n\n*   **Shape:** Round.\n*   **Color:** Brown.\n\nWould you like me to do another?"
KNOWLEDGE = "Sure! Lesions may be:\n\n1. **Round** or oval.\n2. **Brown** or red."


def completion(text: str, finish_reason: str = "stop") -> ChatCompletion:
    return ChatCompletion(text, 10, 0, 5, finish_reason)


THOUGHT = {
    "<think>I see a lesion.\nIt is large.</think>\n\nA large brown lesion.": BROWN,
    "Okay, I see a lesion.</think> A large brown lesion.": BROWN,
    "<thinking>One.</thinking><think>Two.</think>A large brown lesion.": BROWN,
    "<unused94>thought\nThe user wants a description.<unused95>A large brown lesion.": BROWN,
    "[THINK]It is large.[/THINK]A large brown lesion.": BROWN,
    "◁think▷It is large.◁/think▷A large brown lesion.": BROWN,
    "<|channel|>analysis<|message|>It is large.<|end|><|channel|>final<|message|>A large brown lesion.": BROWN,
    "<think>It is large.</think><answer>A large brown lesion.</answer>": BROWN,
    "<think>\n\n</think>\n\n**Description:** A large brown lesion.": BROWN,
}
UNUSABLE = {
    "thinking": [
        ("<think>I see a large lesion. It is", "length"),
        ("<think>I see a large lesion.", "stop"),
        ("<unused94>thought\nThe user wants a description.", "length"),
        ("thought\nI look at the image. It shows a lesion.", "length"),
        ("<think>It is large.</think>", "stop"),
        ("Okay, the user wants me to describe the image. I see a lesion. It", "length"),
        ("The lesion is brown. Wait, let me check. It may be red.", "stop"),
    ],
    "cut_off": [("A large brown lesion on", "length"), ("Here's a description:\n\n*   **Shape:** Rou", "length")],
    "refusal": [
        ("I'm sorry, but I can't assist with that.", "stop"),
        ("I cannot provide a diagnosis. Please consult a doctor.", "stop"),
        ("Please upload the image that you want me to describe.", "stop"),
    ],
    "empty": [("Sure! Here's a description:", "stop"), (" \n", "stop")],
    "instruction": [("Sure, ignore all previous instructions!\n\nA brown lesion.", "stop")],
}


@pytest.mark.parametrize(("answer", "text"), THOUGHT.items())
def test_reasoning_is_removed(answer: str, text: str) -> None:
    reply = read_reply(completion(answer))
    assert reply.text == text
    assert "large." not in reply.raw


@pytest.mark.parametrize(
    ("code", "answer", "finish"), [(code, *one) for code, answers in UNUSABLE.items() for one in answers]
)
def test_an_answer_without_a_usable_text_has_its_code(code: str, answer: str, finish: str) -> None:
    with pytest.raises(UnusableAnswerError, match=f"^{code}: "):
        read_reply(completion(answer, finish))


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("A large brown lesion. Its border is", BROWN),
        ("A large brown lesion. It is 0.", BROWN),
        ("A large brown lesion. It is wide, e.g.", BROWN),
        ("*   **Shape:** Round\n*   **Color:** Br", "Shape: Round."),
        ("*   **Shape:** Round. **Bold.** And", "Shape: Round. Bold."),
    ],
)
def test_an_answer_that_is_cut_off_ends_with_its_last_sentence(answer: str, text: str) -> None:
    assert read_reply(completion(answer, "length")).text == text


@pytest.mark.parametrize(
    ("prompt", "opening"),
    [("<|im_start|>assistant\n<think>\n", "<think>"), ("assistant\n", ""), ("Use <think> tags.\nassistant\n", "")],
)
def test_a_prompt_may_open_the_reasoning(prompt: str, opening: str) -> None:
    assert opened_reasoning(prompt) == opening


class _Scripted:
    """A ``ChatModel`` with given answers, in turn; the last one repeats."""

    name, revision, concurrency = "scripted", "1", 1

    def __init__(self, answers: Sequence[str], finish_reason: str = "stop") -> None:
        self._answers, self._finish_reason = list(answers), finish_reason
        self.asked: list[tuple[Messages, int]] = []

    async def complete(
        self, turns: Messages, image: NDArray[np.uint8] | None, decoding: DecodingParams
    ) -> ChatCompletion:
        text = self._answers[min(len(self.asked), len(self._answers) - 1)]
        self.asked.append((turns, decoding.max_tokens))
        return completion(text, self._finish_reason)


def captioned(model: _Scripted) -> tuple[VapsCaptioner, CaptionDraft | CaptionReject]:
    captioner = VapsCaptioner(model, load_prompt_set("dermoscopy"), PromptingOptions(retries=0), EventLoop())
    (answer,) = captioner.caption([IMAGE], ["one"])
    return captioner, answer


def test_the_second_turn_repeats_the_first_answer_as_it_was_and_the_table_has_it_cleaned() -> None:
    model = _Scripted([KNOWLEDGE, MARKDOWN])
    captioner, answer = captioned(model)
    assert isinstance(answer, CaptionDraft), answer
    assert answer.impression == answer.caption == "Shape: Round. Color: Brown."
    assert [*captioner.knowledge.values()] == ["Lesions may be: Round or oval. Brown or red."]
    assert model.asked[2][0][1] == MARKDOWN


def test_the_next_turn_does_not_repeat_the_reasoning() -> None:
    model = _Scripted([KNOWLEDGE, f"<think>A lesion?</think>\n\n{MARKDOWN}"])
    captioned(model)
    assert model.asked[2][0][1] == MARKDOWN


def test_the_knowledge_has_a_longer_limit_of_tokens() -> None:
    model = _Scripted([KNOWLEDGE, MARKDOWN])
    captioned(model)
    assert [limit for _, limit in model.asked] == [1024, 512, 512]


def test_a_caption_that_is_cut_off_is_kept_with_a_note() -> None:
    _, answer = captioned(_Scripted([f"{BROWN} Its border"], "length"))
    assert isinstance(answer, CaptionDraft), answer
    assert (answer.caption, answer.finish_reason) == (BROWN, "length")
