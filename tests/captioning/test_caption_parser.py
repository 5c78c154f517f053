"""What a caption says is what is read from it."""

from pathlib import Path

import pytest
import yaml

from vapray.captioning.caption_parser import parse_caption
from vapray.captioning.prompt_set import load_prompt_set
from vapray.captioning.text import normalize

HAND_WRITTEN = yaml.safe_load((Path(__file__).parent / "hand_written.yaml").read_text("utf-8"))
SENTENCES = [(modality, entry["text"], entry["says"]) for modality, rows in HAND_WRITTEN.items() for entry in rows]


@pytest.mark.parametrize(("modality", "text", "says"), SENTENCES)
def test_hand_written_sentences_are_read_as_they_are_meant(modality: str, text: str, says: dict) -> None:
    wanted = {name: tuple(value) if isinstance(value, list) else value for name, value in says.items()}
    found = parse_caption(text, load_prompt_set(modality))
    assert found == {name: pytest.approx(v) if isinstance(v, float) else v for name, v in wanted.items()}


@pytest.mark.parametrize("phrase", ["red", "black", "white", "blue-grey", "light brown"])
@pytest.mark.parametrize("negation", ["no {}", "without {}", "lacking {}", "absence of {}", "not {}", "free of {}"])
def test_a_denied_colour_is_not_a_colour(phrase: str, negation: str) -> None:
    prompt_set = load_prompt_set("dermoscopy")
    assert parse_caption(f"A lesion, {negation.format(phrase)}.", prompt_set) == {}
    assert parse_caption(f"A lesion, {phrase}.", prompt_set) == {"colours": (phrase,)}


def test_case_spelling_and_markup_do_not_change_what_is_read() -> None:
    prompt_set = load_prompt_set("dermoscopy")
    plain = parse_caption("blue-grey colour, 20% of the image, well defined", prompt_set)
    assert plain == parse_caption("BLUE–GRAY color, 20 PER CENT of the image, *well-defined*", prompt_set)
    assert len(plain) == 3


@pytest.mark.parametrize(
    "text", ["", " \n", "%", "100000% of the image", "no", "a(n) [ ] {}", "病変は丸い", "-" * 5000]
)
def test_text_that_says_nothing_states_nothing(text: str) -> None:
    assert parse_caption(text, load_prompt_set("dermoscopy")) == {}


def test_normalizing_twice_is_normalizing_once() -> None:
    for _, text, _ in SENTENCES:
        assert normalize(normalize(text)) == normalize(text)
