"""Agreement is 1 for equal attributes and falls with differences; a constant caption has no entropy."""

import math

import pytest

from vapray.captioning.attributes import Attributes, agreement, caption_entropy
from vapray.captioning.prompt_set import load_prompt_set

WANTED: Attributes = {
    "shape": "oval", "outline": "smooth", "size": 0.3, "colours": ("black", "red"), "texture": "uniform",
    "background": "tan skin",
}  # fmt: skip
DERMOSCOPY = load_prompt_set("dermoscopy")


def test_attributes_agree_with_themselves() -> None:
    assert agreement(WANTED, WANTED, DERMOSCOPY) == dict.fromkeys(WANTED, 1.0)


@pytest.mark.parametrize(
    ("change", "score"),
    [
        ({"shape": "round"}, 0.0),
        ({"colours": ("black",)}, 0.5),
        ({"colours": ("black", "red", "white")}, 2 / 3),
        ({"colours": ("white",)}, 0.0),
        ({"size": 0.4}, 0.5),
        ({"size": 0.2}, 0.5),
        ({"size": 0.55}, 0.0),
    ],
)
def test_a_difference_costs_its_own_attribute_only(change: Attributes, score: float) -> None:
    scores = agreement(WANTED | change, WANTED, DERMOSCOPY)
    name = next(iter(change))
    assert scores.pop(name) == pytest.approx(score)
    assert set(scores.values()) == {1.0}


def test_what_was_not_found_is_nan_and_what_was_not_wanted_is_absent() -> None:
    scores = agreement({"shape": "oval"}, {"shape": "oval", "size": 0.2}, DERMOSCOPY)
    assert scores["shape"] == 1.0
    assert math.isnan(scores["size"])
    assert len(scores) == 2


def test_a_constant_caption_has_no_entropy() -> None:
    assert set(caption_entropy([WANTED] * 10, DERMOSCOPY).values()) == {0.0}


def test_two_equally_common_values_have_one_bit() -> None:
    rows = [WANTED, WANTED | {"shape": "round", "size": 0.45}] * 5
    bits = caption_entropy(rows, DERMOSCOPY)
    assert bits["shape"] == bits["size"] == pytest.approx(1.0)
    assert bits["texture"] == 0.0
