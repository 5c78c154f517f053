"""A caption states the attributes it was written from, each once, in few words."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vapray.captioning import caption_templates as wording
from vapray.captioning.attributes import Attributes
from vapray.captioning.caption_parser import parse_caption
from vapray.captioning.prompt_set import known_prompt_sets, load_prompt_set

from .drawable import drawable

ROUNDING = 0.0251


def same(found: Attributes, wanted: Attributes) -> bool:
    return found.keys() == wanted.keys() and all(
        abs(found[name] - value) <= ROUNDING if isinstance(value, float) else found[name] == value
        for name, value in wanted.items()
    )


@pytest.mark.parametrize("name", known_prompt_sets())
@pytest.mark.parametrize("write", [wording.render_caption, wording.render_impression])
def test_reading_a_written_caption_gives_its_attributes_back(name: str, write) -> None:
    prompt_set = load_prompt_set(name)

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(drawable(prompt_set), st.integers(0, 2**32))
    def law(attributes: Attributes, seed: int) -> None:
        text = write(attributes, prompt_set, np.random.default_rng(seed))
        assert same(parse_caption(text, prompt_set), attributes), text

    law()


@pytest.mark.parametrize("name", known_prompt_sets())
def test_an_omitted_attribute_is_not_mentioned_and_the_others_are(name: str) -> None:
    prompt_set = load_prompt_set(name)

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(drawable(prompt_set), st.integers(0, 2**32), st.sampled_from(list(prompt_set.attributes)))
    def law(attributes: Attributes, seed: int, omitted: str) -> None:
        # "No opacity" says three things at once; none of them can be left out alone.
        assume(attributes.get("opacity_location") != "none")
        text = wording.render_caption(attributes, prompt_set, np.random.default_rng(seed), {omitted})
        assert set(parse_caption(text, prompt_set)) == set(attributes) - {omitted}, text

    law()


@pytest.mark.parametrize("name", known_prompt_sets())
def test_captions_are_short(name: str) -> None:
    prompt_set = load_prompt_set(name)

    @settings(max_examples=80, deadline=None, derandomize=True)
    @given(drawable(prompt_set), st.integers(0, 2**32))
    def law(attributes: Attributes, seed: int) -> None:
        words = wording.render_caption(attributes, prompt_set, np.random.default_rng(seed)).split()
        assert 12 <= len(words) <= 36

    law()


@pytest.mark.parametrize("share", np.linspace(0, 1, 101))
def test_estimates_are_near_and_never_turn_something_into_nothing(share: float) -> None:
    estimate = wording.rounded_share(float(share))
    assert abs(estimate - share) <= ROUNDING
    assert (estimate == 0) == (share == 0)


def test_wording_varies_with_the_generator_and_only_with_it() -> None:
    prompt_set = load_prompt_set("dermoscopy")
    attributes: Attributes = {
        "shape": "oval", "outline": "irregular", "size": 0.2, "colours": ("black", "red"),
        "texture": "streaked", "background": "tan skin",
    }  # fmt: skip
    texts = [wording.render_caption(attributes, prompt_set, np.random.default_rng(seed)) for seed in range(40)]
    assert len(set(texts)) >= 30
    assert texts == [wording.render_caption(attributes, prompt_set, np.random.default_rng(seed)) for seed in range(40)]


def test_knowledge_texts_have_ids_that_name_their_version() -> None:
    prompt_set = load_prompt_set("colonoscopy")
    ids = {wording.pick_knowledge(prompt_set, number) for number in range(9)}
    assert len(ids) == len(prompt_set.texts.knowledge) >= 2
    assert all(prompt_set.version in knowledge_id for knowledge_id, _ in ids)
