"""Laws of the intervals."""

from collections.abc import Callable

import numpy as np
import pytest

from vapray.errors import DataError
from vapray.metrics.frechet import FeatureStatistics, frechet_distance
from vapray.metrics.intervals import Interval, bootstrap_interval, half_sampling_interval
from vapray.metrics.kid import kernel_mmd2


def mean(rows: np.ndarray) -> float:
    return float(rows.mean())


def fid(a: np.ndarray, b: np.ndarray) -> float:
    return frechet_distance(FeatureStatistics.of(a), FeatureStatistics.of(b))


@pytest.mark.parametrize("interval", [half_sampling_interval, bootstrap_interval])
def test_95_percent_intervals_of_a_mean_hold_the_truth_in_about_95_percent(
    interval: Callable[..., Interval],
) -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(300):
        found = interval(mean, [rng.standard_normal(60)], draws=200, seed=trial)
        hits += found.low <= 0.0 <= found.high
    assert 0.89 <= hits / 300 <= 0.985


def test_half_sampling_of_fid_is_around_the_value_where_the_bootstrap_is_above_it() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((150, 16)), rng.standard_normal((150, 16)) + 0.1
    half = half_sampling_interval(fid, [a, b], draws=60)
    boot = bootstrap_interval(fid, [a, b], draws=60)
    assert boot is not None
    assert half.low < fid(a, b) < half.high
    assert boot.low > fid(a, b)


def test_half_sampling_of_kid_covers_the_expected_value() -> None:
    rng = np.random.default_rng(2)
    truth = kernel_mmd2(rng.standard_normal((3000, 4)), rng.standard_normal((3000, 4)) + 0.5)
    hits = 0
    for trial in range(40):
        sets = [rng.standard_normal((80, 4)), rng.standard_normal((80, 4)) + 0.5]
        found = half_sampling_interval(kernel_mmd2, sets, draws=40, seed=trial)
        hits += found.low <= truth <= found.high
    assert hits / 40 >= 0.8


def test_more_images_narrow_the_interval() -> None:
    rng = np.random.default_rng(0)
    few, many = (half_sampling_interval(mean, [rng.standard_normal(n)]) for n in (50, 5000))
    assert many.high - many.low < 0.3 * (few.high - few.low)


def test_intervals_are_seeded_and_say_how_they_were_made() -> None:
    rows = np.arange(40.0)
    first = half_sampling_interval(mean, [rows], seed=1)
    assert first == half_sampling_interval(mean, [rows], seed=1)
    assert first != half_sampling_interval(mean, [rows], seed=2)
    assert (first.method, first.level) == ("half-sampling", 0.95)


def test_a_bootstrap_that_is_sometimes_undefined_gives_no_interval() -> None:
    rows = np.array([0.0, 1.0, 1.0])
    assert bootstrap_interval(lambda x: float(np.divide(1.0, x.mean() or np.nan)), [rows]) is None


def test_one_image_has_no_interval() -> None:
    with pytest.raises(DataError, match="at least 2"):
        half_sampling_interval(mean, [np.ones(1)])
