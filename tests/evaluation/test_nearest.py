"""Laws of the search for copies: a copy is at distance 0 and new pictures are as far as held-out ones."""

import numpy as np
import pytest
from numpy.typing import NDArray

from vapray.evaluation.comparison import FeatureSet
from vapray.evaluation.extractors.extractor import FeatureSpace
from vapray.evaluation.nearest import MOST, NEAR, nearest_training

RNG = np.random.default_rng(3)
TRAINING = RNG.normal(size=(400, 6))


def features(rows: NDArray[np.float64], classes: int = 4) -> FeatureSet:
    return FeatureSet(rows, np.arange(len(rows)) % classes, FeatureSpace("some", "0" * 64, 6, 64), "square")


def test_copies_are_found_with_the_picture_they_copy() -> None:
    keys = [f"image/{number}" for number in range(400)]
    copies = TRAINING[[7, 21, 3]]
    found = nearest_training(features(TRAINING), features(RNG.normal(size=(50, 6))), features(copies), keys, "abc")
    assert found.neighbours == {key: (f"image/{row}", 0.0) for key, row in zip("abc", (7, 21, 3), strict=True)}
    assert found.relative == 0.0
    assert found.share_near == 1.0


def test_new_pictures_are_as_far_as_held_out_ones() -> None:
    held_out, made = (features(RNG.normal(size=(600, 6))) for _ in range(2))
    keys = [str(number) for number in range(600)]
    found = nearest_training(features(TRAINING), held_out, made, keys, keys)
    assert found.relative == pytest.approx(1.0, abs=0.1)
    assert found.share_near == pytest.approx(NEAR, abs=0.04)


def test_the_cost_does_not_grow_with_the_generated_set() -> None:
    many = features(RNG.normal(size=(3 * MOST, 6)))
    keys = [str(number) for number in range(3 * MOST)]
    found = nearest_training(features(TRAINING), many, many, keys, keys)
    asked = [int(key) for key in found.neighbours]
    assert len(asked) == MOST
    assert {number % 4 for number in asked} == {0, 1, 2, 3}


def test_held_out_copies_leave_no_yardstick() -> None:
    keys = [str(number) for number in range(400)]
    found = nearest_training(features(TRAINING), features(TRAINING), features(TRAINING[:4] + 1), keys, keys)
    assert np.isnan(found.relative)
