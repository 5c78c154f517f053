"""Laws of the distance to training pictures: that of copies is 0 and that of new pictures is the held-out ones'."""

import numpy as np
import pytest
from numpy.typing import NDArray

from vapray.evaluation.extractors.extractor import FeatureSpace
from vapray.evaluation.set_metrics import FeatureSet, relative_distance
from vapray.metrics import nearest

RNG = np.random.default_rng(3)
TRAINING = RNG.normal(size=(400, 6))


def features(rows: NDArray[np.float64], classes: int = 4) -> FeatureSet:
    return FeatureSet(rows, np.arange(len(rows)) % classes, FeatureSpace("some", "0" * 64, 6, 64), "square")


def test_copies_are_at_distance_0() -> None:
    copies = features(TRAINING[[7, 21, 3]])
    assert relative_distance(features(TRAINING), features(RNG.normal(size=(50, 6))), copies) == 0.0


def test_new_pictures_are_as_far_as_held_out_ones() -> None:
    held_out, made = (features(RNG.normal(size=(600, 6))) for _ in range(2))
    assert relative_distance(features(TRAINING), held_out, made) == pytest.approx(1.0, abs=0.1)


def test_of_many_pictures_the_first_of_each_class_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "MAX_QUERIES", 40)
    far, near = np.full((160, 6), 50.0), RNG.normal(size=(40, 6))
    many = features(np.concatenate([near, far]))
    assert relative_distance(features(TRAINING), features(near), many) == 1.0


def test_held_out_copies_leave_no_yardstick() -> None:
    assert np.isnan(relative_distance(features(TRAINING), features(TRAINING), features(TRAINING[:4] + 1)))
