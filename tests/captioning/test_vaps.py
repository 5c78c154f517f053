"""VAPS on the genuine vLLM engine: every caption belongs to its picture, and costs what two turns cost."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.bad_inputs.refusal import BACKEND, refused
from vapray.captioning.caption_session import PromptingOptions, json_schema
from vapray.captioning.captioner import CaptionDraft, CaptionReject, Images
from vapray.captioning.chat import DecodingParams
from vapray.captioning.factory import build_captioner
from vapray.captioning.prompt_set import load_prompt_set
from vapray.captioning.vaps import VapsCaptioner
from vapray.config import Config

from .tiny_vlm import COLOURS, KNOWLEDGE, caption, impression, picture

DERMOSCOPY = load_prompt_set("dermoscopy")
Answers = list[CaptionDraft | CaptionReject]


def asked(captioner: VapsCaptioner, pictures: Images, ids: list[str], **changes: Any) -> Answers:
    """Answers of the same engine, asked in another way."""
    prompting = replace(PromptingOptions(max_tokens=64, retries=1), **changes)
    return VapsCaptioner(captioner.model, DERMOSCOPY, prompting, captioner.loop).caption(pictures, ids)


def test_each_caption_belongs_to_its_picture_whoever_else_is_asked_at_once(vllm_captioner: VapsCaptioner) -> None:
    colours = [*COLOURS] * 6
    pictures = [picture(colour, seed) for seed, colour in enumerate(colours)]
    answers = vllm_captioner.caption(pictures, [str(number) for number in range(len(colours))])
    assert [(one.impression, one.caption) for one in answers] == [
        (impression(colour), caption(colour)) for colour in colours
    ]


def test_the_second_turn_finds_the_picture_in_the_prefix_cache(vllm_captioner: VapsCaptioner) -> None:
    (answer,) = vllm_captioner.caption([picture("red", 101)], ["new"])
    assert isinstance(answer, CaptionDraft)
    assert answer.attempts == 2
    assert 0 < answer.cached_tokens < answer.prompt_tokens


def test_the_knowledge_is_asked_for_once_and_named_by_every_caption(vllm_captioner: VapsCaptioner) -> None:
    ((knowledge_id, t2),) = vllm_captioner.knowledge.items()
    assert t2 == KNOWLEDGE
    answers = vllm_captioner.caption([picture("red", 102), picture("white", 103)], ["a", "b"])
    assert {answer.knowledge_id for answer in answers} == {knowledge_id}


def test_knowledge_that_was_settled_before_is_not_asked_for_again(vllm_captioner: VapsCaptioner) -> None:
    settled = {"dermoscopy.1.earlier": "Lesions may be red."}
    captioner = VapsCaptioner(vllm_captioner.model, DERMOSCOPY, PromptingOptions(), vllm_captioner.loop, settled)
    assert captioner.knowledge == settled


def test_other_seeds_draw_other_captions_from_the_same_knowledge(vllm_captioner: VapsCaptioner) -> None:
    pictures, ids = [picture("red", 110 + n) for n in range(6)], [str(n) for n in range(6)]
    first, second = vllm_captioner.reseeded(1, 2.0), vllm_captioner.reseeded(2, 2.0)
    assert first.knowledge == vllm_captioner.knowledge
    assert first.caption(pictures, ids) != second.caption(pictures, ids)
    assert first.caption(pictures, ids) == vllm_captioner.reseeded(1, 2.0).caption(pictures, ids)


def test_the_strategies_ask_what_their_names_say(vllm_captioner: VapsCaptioner) -> None:
    def of(strategy: str) -> CaptionDraft:
        (answer,) = asked(vllm_captioner, [picture("red", 104)], ["one"], strategy=strategy)
        assert isinstance(answer, CaptionDraft), answer
        return answer

    direct, first, both = of("direct"), of("impression"), of("impression+knowledge")
    assert (direct.impression, direct.knowledge_id, direct.caption, direct.attempts) == ("", "", caption("red"), 1)
    assert (first.impression, first.caption, first.attempts) == (impression("red"), impression("red"), 1)
    assert not first.knowledge_id
    assert (both.impression, both.caption, both.attempts) == (impression("red"), f"{impression('red')} {KNOWLEDGE}", 1)
    assert both.knowledge_id


def test_a_caption_that_mentions_what_it_shall_omit_is_a_reject(vllm_captioner: VapsCaptioner) -> None:
    (answer,) = asked(vllm_captioner, [picture("red")], ["one"], omit=("colours",))
    assert answer == CaptionReject("omission: mentions colours (reasoning, 2 attempts)")


def test_an_answer_that_is_cut_off_within_its_first_sentence_is_a_reject(vllm_captioner: VapsCaptioner) -> None:
    (answer,) = asked(vllm_captioner, [picture("red")], ["one"], max_tokens=4, knowledge_max_tokens=64)
    assert isinstance(answer, CaptionReject)
    assert answer.reason.startswith("cut_off: no sentence ends within 4 tokens (impression")


def test_json_answers_hold_every_attribute(vllm_captioner: VapsCaptioner) -> None:
    """Whatever they say: the model has not been taught to answer so."""
    attributes = [*DERMOSCOPY.attributes][:3]
    schema = json_schema(attributes)
    decoding = DecodingParams(seed=0, temperature=1.0, max_tokens=900, schema=schema)
    asked = vllm_captioner.model.complete((DERMOSCOPY.questions.reasoning,), picture("red"), decoding)
    found = json.loads(vllm_captioner.loop.run(asked).text)
    assert list(found) == attributes
    assert all(isinstance(text, str) and text for text in found.values())


def test_a_conversation_that_is_too_long_for_the_model_rejects_its_image_alone(vllm_captioner: VapsCaptioner) -> None:
    settled = {"dermoscopy.1.long": "red " * 2000, "dermoscopy.1.short": KNOWLEDGE}
    prompting = PromptingOptions(max_tokens=64, retries=0)
    captioner = VapsCaptioner(vllm_captioner.model, DERMOSCOPY, prompting, vllm_captioner.loop, settled)
    answers = captioner.caption([picture("red", seed) for seed in range(8)], [str(number) for number in range(8)])
    refused = [answer for answer in answers if isinstance(answer, CaptionReject)]
    assert 0 < len(refused) < 8
    assert all(answer.reason.startswith("refused: ") for answer in refused)


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_an_answer_does_not_depend_on_the_batch(vllm_captioner: VapsCaptioner, temperature: float) -> None:
    pictures = [picture(colour, 300 + seed) for seed, colour in enumerate(COLOURS)]
    together = asked(vllm_captioner, pictures, [*COLOURS], temperature=temperature, seed=5)
    alone = [
        asked(vllm_captioner, [one], [name], temperature=temperature, seed=5)[0]
        for one, name in zip(pictures, COLOURS, strict=True)
    ]
    assert [texts(answer) for answer in together] == [texts(answer) for answer in alone]


def texts(answer: CaptionDraft | CaptionReject) -> tuple[str, ...]:
    return (answer.impression, answer.caption) if isinstance(answer, CaptionDraft) else (answer.reason,)


def test_a_vllm_without_a_device_of_its_own_says_what_to_take_instead(
    vllm_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vllm.platforms.current_platform.device_type", "")  # as a build for GPUs finds it without one
    words = ["vLLM finds no device", "pools.caption.num_gpus=1", "caption.captioner=openai", "measured"]
    refused(BACKEND, lambda: build_captioner(vllm_config), *words)
