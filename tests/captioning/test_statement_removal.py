"""Captions without the statements about some attributes: what is left states the other attributes, and only these."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vapray.captioning import caption_templates as wording
from vapray.captioning.answer_cleaner import clean_answer
from vapray.captioning.attributes import Attributes
from vapray.captioning.caption_parser import parse_caption
from vapray.captioning.prompt_set import known_prompt_sets, load_prompt_set
from vapray.captioning.statement_removal import remove_statements, without

from .drawable import drawable

DERMOSCOPY = load_prompt_set("dermoscopy")
DESCRIPTIONS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "derm_mllm" / "captions.csv"


@pytest.mark.parametrize(
    ("caption", "names", "wanted"),
    [
        (
            "An oval lesion with an irregular border, red, speckled texture, covering about 20% of the image.",
            ["shape"],
            "A lesion with an irregular border, red, speckled texture, covering about 20% of the image.",
        ),
        (
            "An oval lesion with an irregular border, red, speckled texture, covering about 20% of the image.",
            ["outline", "size"],
            "An oval lesion, red, speckled texture.",
        ),
        (
            "Red and black lesion, round, with a smooth outline and uniform texture; the background is pale skin.",
            ["outline"],
            "Red and black lesion, round, uniform texture; the background is pale skin.",
        ),
        (
            "Color: The lesion is dark brown, with areas of red. Border: The border is irregular, with a small crust.",
            ["colours"],
            "Border: The border is irregular, with a small crust.",
        ),
        ("The lesion is round. Its border is smooth.", ["shape"], "Its border is smooth."),
        ("A round lesion.", ["texture"], "A round lesion."),
    ],
)
def test_the_smallest_part_that_states_the_attribute_is_removed(caption: str, names: list[str], wanted: str) -> None:
    removed = remove_statements(caption, DERMOSCOPY, names)
    assert removed is not None
    assert (removed.text, removed.how) == (wanted, "unchanged" if wanted == caption else "edited")


@pytest.mark.parametrize("name", known_prompt_sets())
def test_written_captions_keep_exactly_the_other_attributes(name: str) -> None:
    prompt_set = load_prompt_set(name)

    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(drawable(prompt_set), st.integers(0, 2**32), st.sets(st.sampled_from(list(prompt_set.attributes))))
    def law(attributes: Attributes, seed: int, names: set[str]) -> None:
        text = wording.render_caption(attributes, prompt_set, np.random.default_rng(seed))
        removed = remove_statements(text, prompt_set, names)
        assert removed is not None
        assert removed.how != "shortened", text
        assert parse_caption(removed.text, prompt_set) == without(parse_caption(text, prompt_set), names, prompt_set)

    law()


def test_what_an_attribute_implies_goes_and_stays_with_it() -> None:
    chest = load_prompt_set("chest_xray")
    caption = "Symmetric chest, no opacity, heart about 45% of the width."
    without_location = remove_statements(caption, chest, ["opacity_location"])
    assert without_location is not None
    assert without_location.text == "Symmetric chest, heart about 45% of the width."
    assert remove_statements(caption, chest, ["opacity_size"]).text == caption


@pytest.mark.parametrize("name", DERMOSCOPY.attributes)
def test_descriptions_of_a_language_model_keep_exactly_the_other_attributes(name: str) -> None:
    if not DESCRIPTIONS.is_file():
        pytest.skip("the descriptions are not part of the project")
    with DESCRIPTIONS.open(newline="", encoding="utf-8") as file:
        texts = [clean_answer(row["caption"]) for row in csv.DictReader(file)][::4]
    removed = [remove_statements(text, DERMOSCOPY, [name]) for text in texts]
    for text, one in zip(texts, removed, strict=True):
        assert parse_caption(one.text, DERMOSCOPY) == without(parse_caption(text, DERMOSCOPY), [name], DERMOSCOPY)
    assert sum(one.how == "reworded" for one in removed) <= 0.35 * len(removed)
