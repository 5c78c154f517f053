"""Captioners answer once per image, in order, the same way whoever else is in the batch."""

import hashlib

import numpy as np
import pytest

from vapray.captioning.caption_filter import MAX_CAPTION_CHARACTERS
from vapray.captioning.caption_parser import parse_caption
from vapray.captioning.captioner import STRATEGIES, CaptionDraft, Captioner, CaptionReject, cache_key
from vapray.captioning.factory import build_captioner
from vapray.captioning.measured.captioner import MeasuredCaptioner
from vapray.captioning.precomputed import PrecomputedCaptions
from vapray.captioning.prompt_set import load_prompt_set
from vapray.config.loader import load_config
from vapray.errors import ConfigError

from .discs import disc

DERMOSCOPY = load_prompt_set("dermoscopy")
PICTURES = [disc(radius) for radius in (14, 20, 26, 32)]
IDS = [f"image-{number}" for number in range(len(PICTURES))]


def drafts(captioner: Captioner, pictures: list, ids: list[str]) -> list[CaptionDraft]:
    answers = captioner.caption(pictures, ids)
    assert all(isinstance(answer, CaptionDraft) for answer in answers), answers
    return answers  # type: ignore[return-value]


def test_a_caption_does_not_depend_on_the_batch() -> None:
    captioner = MeasuredCaptioner(DERMOSCOPY, seed=3)
    together = drafts(captioner, PICTURES, IDS)
    alone = [drafts(captioner, [picture], [name])[0] for picture, name in zip(PICTURES, IDS, strict=True)]
    backwards = drafts(captioner, PICTURES[::-1], IDS[::-1])[::-1]
    assert together == alone == backwards


def test_the_seed_and_the_id_decide_the_wording() -> None:
    def texts(seed: int, prefix: str) -> list[str]:
        ids = [f"{prefix}{number}" for number in range(8)]
        return [draft.caption for draft in drafts(MeasuredCaptioner(DERMOSCOPY, seed=seed), PICTURES[:1] * 8, ids)]

    assert len(set(texts(0, "a"))) > 4
    assert texts(0, "a") == texts(0, "a") != texts(1, "a")
    assert texts(0, "a") != texts(0, "b")


def test_all_three_steps_are_kept() -> None:
    draft = drafts(MeasuredCaptioner(DERMOSCOPY), PICTURES[:1], IDS[:1])[0]
    assert draft.impression != draft.caption
    assert draft.impression
    assert draft.knowledge_id.startswith("dermoscopy.1-")
    assert parse_caption(draft.impression, DERMOSCOPY)["shape"] == "round"


@pytest.mark.parametrize("omitted", list(DERMOSCOPY.attributes))
def test_an_omitted_attribute_is_left_out_of_both_texts(omitted: str) -> None:
    for draft in drafts(MeasuredCaptioner(DERMOSCOPY, omit=[omitted]), PICTURES, IDS):
        assert omitted not in parse_caption(draft.caption, DERMOSCOPY), draft.caption
        assert omitted not in parse_caption(draft.impression, DERMOSCOPY), draft.impression


def test_a_picture_in_which_nothing_stands_out_is_a_reject_and_the_others_are_not() -> None:
    blank = np.full((64, 64, 3), 200, np.uint8)
    answers = MeasuredCaptioner(DERMOSCOPY).caption([PICTURES[0], blank, PICTURES[1]], IDS[:3])
    assert [type(answer) for answer in answers] == [CaptionDraft, CaptionReject, CaptionDraft]


def test_a_picture_that_is_not_square_is_a_reject_with_its_shape() -> None:
    (answer,) = MeasuredCaptioner(DERMOSCOPY).caption([np.zeros((10, 20, 3), np.uint8)], ["wide"])
    assert isinstance(answer, CaptionReject)
    assert "(10, 20, 3)" in answer.reason


def test_given_captions_are_cleaned_and_missing_or_bad_ones_are_rejects() -> None:
    long = "x" * (MAX_CAPTION_CHARACTERS + 1)
    given = PrecomputedCaptions({"a": " a\x00 red\u202e\n\tspot\u200b ", "b": " \x07 ", "c": long})
    a, b, c, d = (given.caption_for(name, "the dataset's own") for name in "abcd")
    assert isinstance(a, CaptionDraft)
    assert a.caption == "a red spot"
    assert [type(answer) for answer in (b, c, d)] == [CaptionReject] * 3
    assert "empty" in b.reason
    assert f"{MAX_CAPTION_CHARACTERS:,}" in c.reason
    assert d.reason.startswith("missing: no caption")


def test_without_a_table_the_datasets_own_texts_are_taken() -> None:
    given = PrecomputedCaptions(None)
    taken, missing = given.caption_for("a", "A red spot."), given.caption_for("b", "")
    assert isinstance(taken, CaptionDraft)
    assert taken.caption == "A red spot."
    assert isinstance(missing, CaptionReject)


def test_the_revision_of_given_captions_follows_their_content() -> None:
    assert PrecomputedCaptions({"a": "x", "b": "y"}).revision == PrecomputedCaptions({"b": "y", "a": "x"}).revision
    assert (
        PrecomputedCaptions({"a": "x"}).revision
        != PrecomputedCaptions({"a": "y"}).revision
        != PrecomputedCaptions(None).revision
    )


@pytest.mark.parametrize("strategy", [s for s in STRATEGIES if s != "vaps"])
def test_prompting_ablations_are_refused_without_a_model(strategy: str) -> None:
    with pytest.raises(ConfigError, match="prompt a model"):
        load_config(None, [f"caption.strategy={strategy}"])


def test_an_unknown_omission_is_refused_with_the_known_attributes() -> None:
    with pytest.raises(ConfigError, match=r"colour; dermoscopy has .*colours"):
        build_captioner(load_config(None, ["caption.omit=[colour]"]))


def test_what_the_configuration_omits_is_not_captioned() -> None:
    captioner = build_captioner(load_config(None, ["caption.omit=[colours]"]))
    for draft in drafts(captioner, PICTURES, IDS):
        assert "colours" not in parse_caption(draft.caption, DERMOSCOPY), draft.caption


def test_the_cache_key_changes_with_every_part_and_not_with_key_order() -> None:
    sha = hashlib.sha256(b"picture").hexdigest()
    made = {"model": "measured", "revision": "1", "prompt_version": "1-abc", "sampling": "{}"}
    changed = [cache_key(sha, made | {name: "other"}) for name in made]
    assert len({cache_key(sha, made), cache_key("0" * 64, made), *changed}) == 6
    assert cache_key(sha, dict(reversed(made.items()))) == cache_key(sha, made)
