"""Rich captions: what is written is read back, what is drawn is measured, and plain captions know nothing of them."""

import hashlib

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.conftest import ROOT
from vapray.captioning import caption_templates as wording
from vapray.captioning.attributes import Attributes
from vapray.captioning.caption_parser import parse_caption
from vapray.captioning.captioner import CaptionDraft, CaptionReject
from vapray.captioning.factory import build_captioner
from vapray.captioning.measured.border import place_word
from vapray.captioning.measured.dermoscopy import measure_dermoscopy
from vapray.captioning.prompt_set import load_prompt_set
from vapray.config.loader import load_config
from vapray.errors import ConfigError
from vapray.experiments.results import OUTCOMES
from vapray.pipeline.stages import EXTERNAL_INPUTS, STAGES, deciding_sections

from .discs import BROWN, SKIN, cluttered, disc
from .drawable import drawable
from .test_caption_templates import same

PLAIN, RICH = load_prompt_set("dermoscopy"), load_prompt_set("dermoscopy", "rich")
OPTIONAL = [name for name, spec in RICH.attributes.items() if spec.optional]
ADDED = ("place", "contrast", "sharpness", "skin_hue", "skin_lightness", "hair", "corners", "lesions")


@pytest.mark.parametrize("write", [wording.render_caption, wording.render_impression])
def test_reading_a_rich_text_gives_its_attributes_back(write) -> None:
    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(drawable(RICH), st.sets(st.sampled_from(OPTIONAL)), st.integers(0, 2**32))
    def law(attributes: Attributes, unseen: set[str], seed: int) -> None:
        seen = {name: value for name, value in attributes.items() if name not in unseen}
        text = write(seen, RICH, np.random.default_rng(seed))
        assert same(parse_caption(text, RICH), seen), text

    law()


def test_an_omitted_attribute_is_not_mentioned_and_the_others_are() -> None:
    @settings(max_examples=80, deadline=None, derandomize=True)
    @given(drawable(RICH), st.integers(0, 2**32), st.sets(st.sampled_from(list(RICH.attributes)), max_size=4))
    def law(attributes: Attributes, seed: int, omitted: set[str]) -> None:
        text = wording.render_caption(attributes, RICH, np.random.default_rng(seed), omitted)
        assert set(parse_caption(text, RICH)) == set(attributes) - omitted, text

    law()


def test_rich_captions_are_whole_sentences_of_few_words() -> None:
    lengths = []

    @settings(max_examples=80, deadline=None, derandomize=True)
    @given(drawable(RICH), st.integers(0, 2**32))
    def law(attributes: Attributes, seed: int) -> None:
        assume(len(attributes["colours"]) <= 3)  # type: ignore[arg-type]
        text = wording.render_caption(attributes, RICH, np.random.default_rng(seed))
        lengths.append(len(text.split()))
        assert text[0].isupper() and text.endswith(".") and "  " not in text and lengths[-1] <= 48, text

    law()
    assert np.mean(lengths) <= 42
    assert len(RICH.texts.reasoning[-1].texts) >= 4


def test_plain_is_the_prompt_set_without_the_rich_part() -> None:
    file = ROOT / "vapray" / "captioning" / "prompts" / "dermoscopy.yaml"
    assert PLAIN.version == f"1-{hashlib.sha256(file.read_bytes()).hexdigest()[:12]}"
    assert not set(ADDED) & set(PLAIN.attributes) and set(ADDED) <= set(RICH.attributes)
    assert set(PLAIN.attributes) - set(RICH.attributes) == {"background"}
    assert RICH.version != PLAIN.version


def on_skin(radius: float, right: float, down: float) -> NDArray[np.uint8]:
    """Draw a brown disc, moved by shares of the side."""
    moved = np.roll(disc(radius), (round(96 * down), round(96 * right)), axis=(0, 1))
    return np.ascontiguousarray(moved)


PLACES = {
    "centre": (0.0, 0.0), "left": (-0.2, 0.0), "right": (0.2, 0.0), "top": (0.0, -0.2), "bottom": (0.0, 0.2),
    "upper left": (-0.2, -0.2), "upper right": (0.2, -0.2), "lower left": (-0.2, 0.2), "lower right": (0.2, 0.2),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_lesion_lies_where_it_was_drawn(place: str) -> None:
    found = measure_dermoscopy(on_skin(14.0, *PLACES[place]), "rich")
    wanted = {"place": place, "lesions": "single", "hair": "none", "corners": "even", "contrast": "strong"}
    assert {name: found[name] for name in wanted} == wanted
    assert place_word(np.ones((96, 96), bool)) is None


def test_a_second_disc_is_a_further_lesion() -> None:
    left, right = on_skin(12.0, -0.22, 0.0), on_skin(9.0, 0.22, 0.0)
    assert measure_dermoscopy(np.minimum(left, right), "rich")["lesions"] == "several"


def test_lines_over_a_picture_are_hair_and_shade_darkens_its_corners() -> None:
    found = measure_dermoscopy(cluttered(disc(20.0)), "rich")
    assert found["hair"] in {"some", "many"} and found["corners"] == "dark"


def test_a_blurred_edge_is_less_sharp_and_a_paler_lesion_has_less_contrast() -> None:
    reach = np.hypot(*np.meshgrid(np.arange(96) - 47.5, np.arange(96) - 47.5))

    def drawn(width: float, opacity: float) -> Attributes:
        alpha = opacity * np.clip((24 - reach) / width + 0.5, 0, 1)[..., None]
        image = (np.asarray(SKIN) * (1 - alpha) + np.asarray(BROWN) * alpha).astype(np.uint8)
        return measure_dermoscopy(image, "rich")

    assert [drawn(width, 1.0)["sharpness"] for width in (2.0, 7.0, 12.0)] == ["sharp", "soft", "gradual"]
    assert [drawn(2.0, opacity)["contrast"] for opacity in (0.25, 0.5, 1.0)] == ["faint", "moderate", "strong"]


def test_brighter_skin_is_lighter_and_warmer_skin_changes_its_hue() -> None:
    def skin(rgb: tuple[int, int, int]) -> tuple[object, object]:
        found = measure_dermoscopy(np.broadcast_to(np.array(rgb, np.uint8), (96, 96, 3)), "rich")
        assert "place" not in found and "lesions" not in found
        return found["skin_hue"], found["skin_lightness"]

    assert skin((238, 206, 190)) == ("beige", "very light")
    assert skin((120, 110, 110)) == ("greyish", "dark")
    assert [skin(rgb)[0] for rgb in ((190, 150, 190), (215, 150, 165), (230, 150, 120))] == [
        "lilac",
        "pinkish",
        "peach",
    ]


def test_the_captioner_says_all_that_is_in_view_and_nothing_of_an_empty_picture() -> None:
    captioner = build_captioner(load_config(None, ["caption.detail=rich"]))
    drawn, empty = captioner.caption([on_skin(14.0, 0.2, 0.0), np.full((96, 96, 3), 200, np.uint8)], ["a", "b"])
    assert isinstance(drawn, CaptionDraft) and isinstance(empty, CaptionReject)
    assert same(parse_caption(drawn.caption, RICH), measure_dermoscopy(on_skin(14.0, 0.2, 0.0), "rich"))
    assert "towards the right" in drawn.caption and parse_caption(drawn.impression, RICH)["place"] == "right"


WRONG = {
    "caption.captioner=ground_truth": "caption.captioner = ground_truth writes plain captions only",
    "caption.prompt_set=chest_xray": "only the prompt set dermoscopy has rich captions",
}


@pytest.mark.parametrize("setting", WRONG)
def test_other_captioners_and_prompt_sets_refuse_rich(setting: str) -> None:
    with pytest.raises(ConfigError, match=WRONG[setting]):
        load_config(None, ["caption.detail=rich", setting])
    with pytest.raises(ConfigError, match="no rich part"):
        load_prompt_set("chest_xray", "rich")


def test_a_plain_run_keeps_its_fingerprint_and_a_rich_one_has_another() -> None:
    plain, rich = (load_config(None, [f"caption.detail={detail}"]) for detail in ("plain", "rich"))
    keys = [{key for stage in STAGES for key in deciding_sections(stage, config)} for config in (plain, rich)]
    assert keys[1] - keys[0] == {"caption.detail"}
    for stage in ("caption", "audit", "evaluate"):
        signs = [EXTERNAL_INPUTS[stage]["prompts"](config) for config in (plain, rich)]
        assert signs == [PLAIN.version, RICH.version]


def test_experiments_know_the_attributes_of_their_detail() -> None:
    plain, rich = (load_config(None, [f"caption.detail={detail}"]) for detail in ("plain", "rich"))
    assert "no number adherence_place" in str(OUTCOMES["evaluate"].validate(plain, ["adherence_place"]))
    assert OUTCOMES["evaluate"].validate(rich, ["adherence_place"]) is None
