"""Agreement is 1 for equal attributes and falls with differences."""

import math

import pytest

from vapray.captioning.attributes import Attributes, agreement
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
