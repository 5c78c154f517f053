"""Laws of the text encoders."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vapray.bank.factory import build_text_encoder
from vapray.bank.hashing_encoder import HashingEncoder
from vapray.config import TextEncoderSection
from vapray.errors import ConfigError, DataError

CAPTION = (
    "An oval lesion with an irregular outline, about 35 % of the image, dark brown and blue-grey with a"
    " streaked texture, without white areas, on tan skin."
)


def similarity(encoder: HashingEncoder, left: str, right: str) -> float:
    a, b = (context[0].astype(np.float64) for context in encoder.encode([left, right]))
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_a_caption_becomes_a_dozen_real_tokens_of_the_stated_shape() -> None:
    encoder = HashingEncoder(width=64)
    (context,) = encoder.encode([CAPTION])
    assert context.dtype == np.float16
    assert context.shape == (len(encoder.tokens(CAPTION)), 64)
    assert 12 <= len(context) <= 18


def test_function_words_go_and_negations_and_percentages_stay() -> None:
    tokens = HashingEncoder().tokens(
        "No hair is seen; the lesion of 35 percent, with 2 dots, not blue-grey. Without scale"
    )
    assert tokens == [
        "no",
        "hair",
        "seen",
        "lesion",
        "35%",
        "2",
        "dots",
        "not",
        "blue-grey",
        "without",
        "scale",
    ]
    assert HashingEncoder(drop_function_words=False).tokens("the lesion") == ["the", "lesion"]


@pytest.mark.parametrize("spelling", ["35%", "35 %", "35 percent", "35 per cent"])
def test_spellings_of_a_percentage_are_one_token(spelling: str) -> None:
    encoder = HashingEncoder()
    assert np.array_equal(encoder.encode([spelling])[0], encoder.encode(["35%"])[0])


def test_contexts_do_not_depend_on_case_company_or_instance() -> None:
    alone = HashingEncoder().encode([CAPTION])[0]
    among = HashingEncoder().encode(["red", CAPTION.upper(), "white"])[1]
    assert np.array_equal(alone, among)


def test_the_code_is_the_same_on_every_machine_and_in_every_version() -> None:
    word = HashingEncoder(width=8, position_scale=0.0).encode(["lesion"])[0][0]
    assert word.tolist() == [-1.0, 1.0, -1.0, -1.0, 1.0, 1.0, -1.0, -1.0]


def test_neighbouring_percentages_resemble_one_another() -> None:
    encoder = HashingEncoder()
    near, far = similarity(encoder, "35%", "38%"), similarity(encoder, "35%", "80%")
    assert near > 0.8 > 0.5 > far
    assert similarity(encoder, "35%", "35") < 0.5


def test_different_words_are_unrelated_and_have_unit_scale() -> None:
    encoder = HashingEncoder(width=1024, position_scale=0.0)
    assert abs(similarity(encoder, "brown", "browns")) < 0.15
    contexts = encoder.encode(["brown", "40 %", "7", "99999999999999999999"])
    assert all(abs(np.sqrt(np.square(c.astype(np.float64)).mean()) - 1) < 1e-2 for c in contexts)


def test_word_order_shows_only_in_the_position_code() -> None:
    forwards, backwards = "white red", "red white"
    bag = HashingEncoder(position_scale=0.0).encode([forwards, backwards])
    ordered = HashingEncoder().encode([forwards, backwards])
    assert np.array_equal(bag[0], bag[1][::-1])
    assert not np.array_equal(ordered[0], ordered[1][::-1])


@pytest.mark.parametrize(
    ("text", "found"),
    [("", "0 tokens"), (" ,.; ", "0 tokens"), ("of the", "0 tokens"), ("red " * 9, "9 tokens")],
)
def test_empty_and_overlong_texts_are_refused_never_cut(text: str, found: str) -> None:
    with pytest.raises(DataError, match=rf"text 1, .*{found}; expected 1 to 8"):
        HashingEncoder(max_tokens=8).encode(["red", text])


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40))
def test_any_text_gives_finite_tokens_or_a_data_error(text: str) -> None:
    try:
        (context,) = HashingEncoder(width=16).encode([text])
    except DataError:
        assert not HashingEncoder().tokens(text)
    else:
        assert np.isfinite(context).all()
        assert 1 <= len(context) <= 64


def test_ids_differ_exactly_when_contexts_can() -> None:
    variants = [{}, {"width": 32}, {"max_tokens": 9}, {"drop_function_words": False}, {"position_scale": 0.5}]
    assert len({HashingEncoder(**changed).id for changed in variants}) == len(variants)
    assert build_text_encoder(TextEncoderSection(max_tokens=64)).id == HashingEncoder().id


def test_a_text_that_is_refused_leaves_the_others() -> None:
    whole, refused, again = HashingEncoder().encode_each([CAPTION, "of the", CAPTION])
    assert isinstance(refused, DataError)
    assert np.array_equal(whole, again)


@pytest.mark.parametrize("wrong", [{"width": 7}, {"max_tokens": 0}, {"position_scale": float("nan")}])
def test_settings_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        HashingEncoder(**wrong)
