"""Laws of classifiers' gains by group."""

import numpy as np
import pytest

from vapray.data.image_groups import Grouping
from vapray.downstream.group_gains import GroupGains, HeldOutImages, gains_of

COUNT, LEAST = 400, 30
SEEDS = (0, 1, 2)


def gains(better: float, seed: int = 0) -> GroupGains:
    """Gains of a classifier whose accuracy is 0.6, and ``better`` more with generated images on scanner B."""
    rng = np.random.default_rng(seed)
    ids = [f"i{number}" for number in range(COUNT)]
    labels = rng.integers(0, 3, COUNT)
    of_image = {one: "ABC"[min(place % 2 + 2 * (place < 10), 2)] for place, one in enumerate(ids)}
    is_b = np.array([of_image[one] == "B" for one in ids])
    rows, predictions = [], {}
    for arm in ("real", "real+synthetic"):
        for one in SEEDS:
            rows.append({"key": f"{arm}/{one}", "network": "small", "share": 1.0, "arm": arm, "seed": one})
            right = rng.random(COUNT) < 0.6 + better * is_b * (arm != "real")
            predictions[f"{arm}/{one}"] = np.where(right, labels, (labels + 1) % 3)
    test = HeldOutImages(ids, labels, [f"patient {number // 2}" for number in range(COUNT)])
    return gains_of(rows, predictions, test, [Grouping("scanner", "", ("A", "B", "C"), of_image)], LEAST)


def test_a_gain_in_one_group_alone_is_found_with_its_size() -> None:
    found = gains(0.3)
    by_group = {line.group: line for line in found.lines}
    gain = by_group["B"].gain
    assert gain is not None and gain.interval is not None and gain.interval.low < 0.3 < gain.interval.high
    assert by_group["B"].with_generated - by_group["B"].real == pytest.approx(gain.value)
    assert [one.is_resolved for one in found.differences] == [True]
    assert "| scanner | B | 195 | small | 100 % | real+synthetic |" in found.markdown()


def test_equal_groups_are_seldom_told_apart_and_intervals_cover_no_gain() -> None:
    found = [gains(0.0, seed) for seed in range(60)]
    assert sum(one.differences[0].is_resolved for one in found) <= 7
    lines = [line.gain.interval for one in found for line in one.lines if line.gain]
    assert np.mean([bounds.low <= 0 <= bounds.high for bounds in lines]) > 0.9


def test_a_small_group_is_counted_and_has_no_gain() -> None:
    (small,) = [line for line in gains(0.0).lines if line.group == "C"]
    assert (small.n_test, small.gain) == (10, None)
    assert "| scanner | C | 10 | small | 100 % | real+synthetic |  |  |  |" in gains(0.0).markdown()
