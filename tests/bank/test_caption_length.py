"""A caption that is longer than the encoder takes keeps the whole sentences that fit."""

import csv

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from vapray.bank.caption_length import cut_to_fit
from vapray.bank.hashing_encoder import HashingEncoder
from vapray.bank.stage import _EncodeCaptions
from vapray.captioning.answer_cleaner import clean_answer
from vapray.config import Config, TextEncoderSection
from vapray.store.tables import REJECT

REAL = ROOT.parent / "shared" / "data" / "derm_mllm" / "captions.csv"
CUTS = {
    "Red spot.": "Red spot.",
    "Red spot. Pale skin. Dark hair. Blue ruler.": "Red spot. Pale skin. Dark hair.",
    "Red spot! Is 3.5 mm wide. Pale skin": "Red spot! Is 3.5 mm wide.",
    "red spot, pale skin; dark hair, blue ruler and more": "red spot, pale skin; dark hair",
    "red spot pale skin dark hair blue": "red spot pale skin dark hair",
    "It is. Red spot pale skin dark hair blue ruler.": "It is. Red spot pale skin dark hair",
    "Red spot. " + "pale skin " * 9: "Red spot.",
}


@pytest.mark.parametrize(("caption", "cut"), CUTS.items())
def test_a_long_caption_is_cut_at_a_sentence_or_else_a_clause_or_a_word(caption: str, cut: str) -> None:
    assert cut_to_fit(caption, HashingEncoder(max_tokens=6)) == cut


@settings(max_examples=100, deadline=None)
@given(st.text("ab .,;!-\n", max_size=80), st.integers(1, 9))
def test_a_cut_caption_is_a_beginning_that_fits(caption: str, max_tokens: int) -> None:
    encoder = HashingEncoder(max_tokens=max_tokens)
    cut = cut_to_fit(caption, encoder)
    assert caption.startswith(cut)
    assert encoder.count_tokens(cut) <= max_tokens
    assert bool(encoder.count_tokens(cut)) == bool(encoder.count_tokens(caption))
    if encoder.count_tokens(caption) <= max_tokens:
        assert cut == caption


def test_the_stage_counts_what_it_cuts_and_rejects_only_captions_without_a_token() -> None:
    captions = ["Red spot. Pale skin.", "Red spot. Pale skin. " * 2, "of the"]
    rows = pa.table({"image_id": ["a", "b", "c"], "caption": captions, "label": [0] * 3, "split": ["train"] * 3})
    config = Config(text_encoder=TextEncoderSection(max_tokens=6))
    part = _EncodeCaptions(config, ())(rows.append_column("group", rows.column("split")))
    found = {row["image_id"]: row for row in part.to_pylist()}
    assert found["a"]["caption"] == captions[0]
    assert found["b"]["caption"] == "Red spot. Pale skin. Red spot."
    assert [found[name]["cut_tokens"] for name in "abc"] == [0, 2, None]
    assert [bool(found[name][REJECT]) for name in "abc"] == [False, False, True]


def test_real_descriptions_are_cut_and_none_is_rejected() -> None:
    if not REAL.is_file():
        pytest.skip("no descriptions of a real model in ../shared/data/derm_mllm")
    encoder = HashingEncoder(max_tokens=48)
    with REAL.open(newline="", encoding="utf-8") as file:
        captions = [clean_answer(row["caption"]) for row in csv.DictReader(file)]
    cut = [cut_to_fit(caption, encoder) for caption in captions]
    assert all(kept.endswith(".") and whole.startswith(f"{kept} ") for kept, whole in zip(cut, captions, strict=True))
    assert min(map(encoder.count_tokens, cut)) > 24
