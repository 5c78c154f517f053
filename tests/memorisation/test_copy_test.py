"""Laws of the verdict: where it turns, how often it is wrong, and that it never says more than it knows."""

import numpy as np
import pytest
from scipy.stats import beta

from vapray.memorisation.copy_test import (
    ALPHA,
    CANNOT_TELL,
    COPIES,
    MIN_HELD_OUT,
    NONE,
    CopyTestResult,
    combine_verdicts,
    run_copy_test,
)

RNG = np.random.default_rng(5)
PLANTED = np.linspace(0, 0.2, 50)


def new(count: int) -> np.ndarray:
    return RNG.uniform(0.5, 1, count)


def test_new_pictures_are_seldom_called_copies() -> None:
    alarms = [run_copy_test(new(150), PLANTED, new(200)).verdict == COPIES for _ in range(300)]
    assert np.mean(alarms) <= ALPHA + 3 * np.sqrt(ALPHA / 300)


def test_one_copy_among_many_new_pictures_is_found() -> None:
    found = run_copy_test(new(300), PLANTED, np.append(new(999), 0.01))
    assert (found.verdict, found.copies) == (COPIES, 1)


def test_pictures_that_are_too_near_without_being_copies_are_found_by_their_share() -> None:
    held_out = np.linspace(0.5, 1, 299)
    near = np.full(20, held_out[2])
    found = run_copy_test(held_out, PLANTED, np.append(near, np.full(180, 0.9)))
    assert (found.below, found.share, found.copies, found.verdict) == (20, 0.1, 0, COPIES)
    few = run_copy_test(held_out, PLANTED, np.append(near[:5], np.full(195, 0.9)))
    assert (few.below, few.verdict) == (5, NONE)


def test_the_threshold_is_the_nearest_percent_of_held_out_pictures() -> None:
    found = run_copy_test(np.arange(1.0, 300.0), PLANTED, np.array([3.0, 3.1]))
    assert (found.threshold, found.below) == (3.0, 1)
    assert found.expected == pytest.approx(3 / 300)


def test_the_interval_is_that_of_clopper_and_pearson() -> None:
    found = run_copy_test(np.arange(1.0, 300.0), PLANTED, np.append(np.full(7, 2.0), np.full(93, 50.0)))
    assert found.interval.low == pytest.approx(beta.ppf(0.025, 7, 94))
    assert found.interval.high == pytest.approx(beta.ppf(0.975, 8, 93))


def test_too_few_held_out_pictures_cannot_tell_even_of_copies() -> None:
    copies = np.zeros(50)
    assert run_copy_test(new(MIN_HELD_OUT - 1), PLANTED, copies).verdict == CANNOT_TELL
    assert run_copy_test(new(MIN_HELD_OUT), PLANTED, copies).verdict == COPIES
    assert run_copy_test(new(0), PLANTED, new(5)).verdict == CANNOT_TELL


def test_a_search_that_misses_planted_copies_cannot_say_none() -> None:
    blind = run_copy_test(new(300), new(50), np.full(100, 0.9))
    assert (blind.verdict, blind.single_found) == (CANNOT_TELL, 0.0)
    assert run_copy_test(new(300), PLANTED, np.full(100, 0.9)).verdict == NONE


def test_held_out_pictures_that_are_copies_themselves_leave_no_single_copy_to_be_called() -> None:
    found = run_copy_test(np.append(np.zeros(4), new(296)), PLANTED, np.full(100, 0.9))
    assert (found.copy_distance, found.threshold, found.verdict) == (None, 0.0, CANNOT_TELL)


def test_nothing_generated_tells_nothing() -> None:
    assert run_copy_test(new(300), PLANTED, np.zeros(0)).verdict == CANNOT_TELL


@pytest.mark.parametrize(
    ("pixels", "features", "said"),
    [(NONE, CANNOT_TELL, NONE), (NONE, COPIES, COPIES), (CANNOT_TELL, NONE, CANNOT_TELL), (COPIES, NONE, COPIES)],
)
def test_either_search_finds_copies_and_only_pixels_find_none(pixels: str, features: str, said: str) -> None:
    assert combine_verdicts(*(JUDGED[verdict] for verdict in (pixels, features))) == said


JUDGED: dict[str, CopyTestResult] = {
    NONE: run_copy_test(new(300), PLANTED, np.full(9, 0.9)),
    COPIES: run_copy_test(new(300), PLANTED, np.zeros(9)),
    CANNOT_TELL: run_copy_test(new(3), PLANTED, np.full(9, 0.9)),
}
