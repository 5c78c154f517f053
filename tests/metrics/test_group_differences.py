"""Calibration of comparisons between groups: the rate of false findings, and the coverage of intervals."""

import numpy as np
import pytest
from scipy import stats

from vapray.metrics.group_differences import (
    Estimate,
    Share,
    balanced_mean,
    compare_groups,
    compare_shares,
    correct,
)
from vapray.metrics.intervals import random_halves
from vapray.metrics.kid_and_prdc import kid_and_prdc

REPETITIONS = 100
HALVES = 60


def kid(rng: np.random.Generator, count: int, shift: float) -> Estimate:
    real, made = rng.standard_normal((2 * count, 12)), rng.standard_normal((count, 12)) + shift
    found = kid_and_prdc(real, made, random_halves([len(real), len(made)], HALVES, 0))
    return Estimate(found.kid, float(found.kid_of_halves.std(ddof=1)), HALVES - 1, count, None)


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_equally_distant_groups_are_told_apart_at_most_at_the_nominal_rate(shift: float, one_thread: None) -> None:
    false = 0
    for seed in range(REPETITIONS):
        rng = np.random.default_rng(seed)
        groups = {name: kid(rng, count, shift) for name, count in (("a", 40), ("b", 30), ("c", 30))}
        false += any(one.is_resolved for one in correct(compare_groups("site", "kid", groups)))
    assert stats.binomtest(false, REPETITIONS, 0.05, alternative="greater").pvalue > 0.01


def test_a_more_distant_group_is_found(one_thread: None) -> None:
    found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        groups = {name: kid(rng, 40, shift) for name, shift in (("a", 0.3), ("b", 0.3), ("c", 0.8))}
        resolved = {one.group: one.value for one in correct(compare_groups("site", "kid", groups)) if one.is_resolved}
        found += resolved.get("c", 0) > 0
    assert found > 17


@pytest.mark.parametrize("lesion_images", [1, 4])
def test_the_interval_of_a_balanced_mean_covers_also_where_images_share_a_lesion(lesion_images: int) -> None:
    covered = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        hits = np.repeat(rng.random(48 // lesion_images) < 0.7, lesion_images).astype(float)
        classes = np.repeat(rng.integers(0, 2, 48 // lesion_images), lesion_images)
        units = [str(number // lesion_images) for number in range(48)]
        bounds = balanced_mean(hits, classes, units, bounds=(0.0, 1.0)).interval
        assert bounds is not None and 0 <= bounds.low <= bounds.high <= 1
        covered += bounds.low <= 0.7 <= bounds.high
    assert covered >= 0.93 * 400


def test_a_class_of_equal_values_is_not_exact() -> None:
    assert balanced_mean(np.ones(8), np.zeros(8, np.int64)).deviation > 0.1


def test_shares_are_compared_by_fishers_test_and_have_wilsons_interval() -> None:
    (one,) = compare_shares("sex", "copies_suspected", {"f": Share(12, 100), "m": Share(1, 100)})
    assert one.p == pytest.approx(stats.fisher_exact([[12, 88], [1, 99]]).pvalue)
    bounds = Share(0, 100).interval
    assert bounds.low == 0 and bounds.high == pytest.approx(0.037, abs=0.001)


def test_two_groups_are_compared_once_and_one_group_never() -> None:
    one = Estimate(0.5, 0.1, 9, 10, None)
    assert len(compare_groups("sex", "kid", {"f": one, "m": one})) == 1
    assert len(compare_groups("sex", "kid", {"f": one, "m": one, "x": one})) == 3
    assert compare_groups("sex", "kid", {"f": one}) == []
