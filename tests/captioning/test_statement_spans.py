"""The place of a statement is where the caption says it."""

import pytest

from tests.captioning.test_caption_parser import HAND_WRITTEN, SENTENCES
from vapray.captioning.caption_parser import parse_caption
from vapray.captioning.prompt_set import load_prompt_set
from vapray.captioning.statement_spans import StatementSpan, stated_values, statement_spans

DERMOSCOPY = load_prompt_set("dermoscopy")


def words(text: str) -> list[tuple[str, str | float, str]]:
    return [(one.attribute, one.value, text[one.start : one.end]) for one in statement_spans(text, DERMOSCOPY)]


def test_each_statement_of_a_caption_has_its_words() -> None:
    text = "An oval, dark brown lesion with an irregular border covers about 30% of the image on pale skin."
    assert words(text) == [
        ("shape", "oval", "oval"),
        ("colours", "dark brown", "dark brown"),
        ("outline", "irregular", "irregular"),
        ("size", 0.3, "30%"),
        ("background", "pale skin", "pale skin"),
    ]


def test_equal_words_about_the_skin_are_no_place_of_the_lesions_colour() -> None:
    text = "On light brown skin: a round light brown lesion."
    assert words(text) == [
        ("background", "tan skin", "light brown skin"),
        ("shape", "round", "round"),
        ("colours", "light brown", "light brown"),
    ]
    (colour,) = (one for one in statement_spans(text, DERMOSCOPY) if one.attribute == "colours")
    assert colour.start == text.rindex("light brown")


def test_a_repeated_statement_has_several_places_and_a_denied_one_none() -> None:
    text = "A red lesion with a red centre, not oval, without black."
    assert words(text) == [("colours", "red", "red"), ("colours", "red", "red")]


@pytest.mark.parametrize("modality", list(HAND_WRITTEN))
def test_places_state_their_value_alone_and_few_statements_have_none(modality: str) -> None:
    prompt_set = load_prompt_set(modality)
    placed = stated = 0
    for text in (text for name, text, _ in SENTENCES if name == modality):
        spans = statement_spans(text, prompt_set)
        for one in spans:
            alone = dict.fromkeys(stated_values(parse_caption(text[one.start : one.end], prompt_set)))
            assert (one.attribute, one.value) in alone, text
        statements = stated_values(parse_caption(text, prompt_set))
        placed += len({(one.attribute, one.value) for one in spans})
        stated += len(statements)
    assert placed >= 0.9 * stated > 0


def test_text_without_statements_has_no_places() -> None:
    assert statement_spans("", DERMOSCOPY) == statement_spans("Nothing else.", DERMOSCOPY) == []


def test_spans_are_plain_values() -> None:
    assert statement_spans("Round.", DERMOSCOPY) == [StatementSpan("shape", "round", 0, 5)]
