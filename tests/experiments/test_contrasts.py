"""Differences over seeds: what may be called resolved."""

import math

import pytest
from scipy import stats

from vapray.experiments.contrasts import ContrastResult, Difference, findings
from vapray.experiments.spec import Contrast, Experiment, Row
from vapray.metrics.multiple_tests import holm

SEEDS = (0, 1, 2, 3)


def found(first: dict[str, list[float]], second: dict[str, list[float]], primary: int = 1) -> list[ContrastResult]:
    """Of values by measure, one for each seed; the same contrast as often as asked."""
    experiment = Experiment(
        title="t",
        question="q",
        seeds=SEEDS,
        evaluators={measure: {} for measure in first},
        arms={"a": Row(), "b": Row()},
        contrasts=(Contrast(baseline="a", treatment="b"),) * primary,
    )
    numbers = {
        (row, measure, seed, "kid"): value
        for row, values in (("a", first), ("b", second))
        for measure, of_seeds in values.items()
        for seed, value in zip(SEEDS, of_seeds, strict=False)
    }
    return findings(experiment, numbers)


def equivalent(second: list[float], margin: float | None, floor: float = 4.0) -> bool:
    """Verdict on an arm beside a baseline of 14 and real images of ``floor``."""
    contrast = Contrast(baseline="a", treatment="b", metric="fid", equivalence_margin=margin)
    experiment = Experiment(
        title="t", question="q", seeds=SEEDS, arms={"a": Row(), "b": Row()}, contrasts=(contrast,)
    )  # fmt: skip
    numbers = {("a", "default", seed, "fid"): 14.0 for seed in SEEDS}
    numbers |= {("a", "default", seed, "fid_real_split"): floor for seed in SEEDS}
    numbers |= {("b", "default", seed, "fid"): value for seed, value in zip(SEEDS, second, strict=False)}
    return findings(experiment, numbers)[0].equivalent


def difference(first: list[float], second: list[float]) -> Difference:
    return found({"m": first}, {"m": second})[0].differences["m"]


def test_the_interval_is_that_of_the_paired_t_test():
    first, second = [5.0, 7.0, 6.0, 9.0], [4.0, 5.5, 5.4, 6.0]
    one = difference(first, second)
    known = stats.ttest_rel(second, first)
    assert (one.p, one.pairs) == (pytest.approx(known.pvalue), 4)
    assert (one.low, one.high) == pytest.approx(tuple(known.confidence_interval(0.95)))


def test_pairing_takes_away_what_seeds_share():
    shared = [1.0, 50.0, 20.0, 80.0]
    one = difference(shared, [value - 1 + 0.01 * place for place, value in enumerate(shared)])
    assert one.high < 0


def test_a_seed_that_one_row_lacks_is_no_pair():
    assert difference([1.0, 2.0, 3.0, 4.0], [2.0, 3.5, math.nan]).pairs == 2
    alone = difference([1.0], [2.0])
    assert (alone.mean, alone.pairs) == (1.0, 1) and math.isnan(alone.low)


CLEAR = [10.0, 11.0, 12.0, 13.0], [8.0, 9.1, 9.9, 11.0]


def test_a_clear_difference_is_resolved_and_noise_is_not():
    assert found({"m": CLEAR[0]}, {"m": CLEAR[1]})[0].resolved
    assert not found({"m": CLEAR[0]}, {"m": [13.0, 9.0, 12.5, 12.0]})[0].resolved
    assert not found({"m": CLEAR[0][:1]}, {"m": CLEAR[1][:1]})[0].resolved


def test_measures_have_to_agree_in_sign():
    other = [1.0, 1.0, 1.0, 1.0]
    assert found({"m": CLEAR[0], "n": other}, {"m": CLEAR[1], "n": [0.9, 1.05, 0.9, 0.9]})[0].resolved
    assert not found({"m": CLEAR[0], "n": other}, {"m": CLEAR[1], "n": [1.1, 0.95, 1.1, 1.1]})[0].resolved


@pytest.mark.parametrize("missing", [[], [0.9, 1.05, 0.9], [0.9, 1.05, 0.9, math.nan]])
def test_nothing_is_resolved_before_all_seeds_are_there_under_all_measures(missing):
    other = [1.0, 1.0, 1.0, 1.0]
    assert not found({"m": CLEAR[0], "n": other}, {"m": CLEAR[1], "n": missing})[0].resolved
    assert not found({"n": CLEAR[1], "m": other}, {"n": CLEAR[0], "m": missing})[0].resolved
    assert not found({"m": CLEAR[0][:3]}, {"m": CLEAR[1][:3]})[0].resolved


def test_holm_is_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    first, second = holm([math.nan, 0.02])
    assert math.isnan(first) and second == pytest.approx(0.04)


def test_more_questions_ask_for_more():
    first, second = {"m": [10.0, 11.0, 12.0, 13.0]}, {"m": [9.0, 10.6, 11.0, 12.5]}
    alone, among = found(first, second)[0], found(first, second, primary=3)[0]
    assert alone.resolved and not among.resolved
    assert among.p_holm == pytest.approx(3 * alone.p_holm)


def test_arms_are_equivalent_if_the_interval_is_within_a_share_of_the_excess_over_real_images():
    near = [14.2, 13.9, 14.1, 14.0]  # 0.05, from -0.15 to 0.25
    assert equivalent(near, 0.03) and not equivalent(near, 0.02)
    assert not equivalent(near, 0.03, floor=13.0)
    assert not equivalent([14.9, 13.2, 14.8, 13.4], 0.03)
    assert not equivalent(near[:3], 0.15)
    assert not equivalent(near, None)
