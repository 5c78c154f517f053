"""Which classifiers there are, and which real images each may learn from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vapray.config.loader import load_config
from vapray.downstream.subsets import check_groups_disjoint, rows_of_share
from vapray.downstream.training import phases_of
from vapray.downstream.trials import all_trials, keeps_weights
from vapray.errors import ConfigError, DataError

IMAGES = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), min_size=1, max_size=60)
SHARES = st.tuples(st.floats(0.001, 1), st.floats(0.001, 1)).map(sorted)


def split_up(images: list[tuple[int, int]]) -> tuple[list[str], np.ndarray]:
    return [f"lesion {group}" for group, _ in images], np.array([label for _, label in images])


@given(images=IMAGES, shares=SHARES, seed=st.integers(0, 5))
def test_a_smaller_share_is_part_of_a_larger_one(images, shares, seed):
    groups, labels = split_up(images)
    less, more = (set(rows_of_share(groups, labels, share, seed)) for share in shares)
    assert less <= more


@given(images=IMAGES, share=st.floats(0.001, 1), seed=st.integers(0, 5))
def test_a_share_takes_whole_groups_and_leaves_no_class_out(images, share, seed):
    groups, labels = split_up(images)
    rows = rows_of_share(groups, labels, share, seed)
    taken = {groups[row] for row in rows}
    assert [row for row, group in enumerate(groups) if group in taken] == list(rows)
    assert set(labels[rows]) == set(labels)


def test_a_share_counts_groups_of_each_class():
    labels = np.repeat([0, 1, 2], [400, 100, 3])
    groups = [f"{number // 2}" if label == 0 else f"alone {number}" for number, label in enumerate(labels)]
    for share, wanted in ((0.01, (4, 1, 1)), (0.1, (40, 10, 1)), (1.0, (400, 100, 3))):
        rows = rows_of_share(groups, labels, share, seed=0)
        assert tuple(np.bincount(labels[rows], minlength=3)) == wanted
    assert set(rows_of_share(groups, labels, 0.1, seed=0)) != set(rows_of_share(groups, labels, 0.1, seed=1))


def test_a_test_of_lesions_that_are_trained_on_is_refused():
    check_groups_disjoint(["a", "b"], ["c"])
    with pytest.raises(DataError, match=r"1 groups are in the train split .* such as b"):
        check_groups_disjoint(["a", "b", "b"], ["b", "c"])


@given(steps=st.integers(2, 500), part=st.floats(0.001, 0.999))
def test_every_arm_takes_the_same_steps(steps, part):
    settings = load_config(None, [f"downstream.steps={steps}", f"downstream.synthetic_steps={part}"]).downstream
    real, synthetic = np.arange(5), np.arange(5, 9)
    of_arm = {arm: phases_of(arm, real, synthetic, settings) for arm in settings.arms}
    assert {sum(phase.steps for phase in phases) for phases in of_arm.values()} == {steps}
    assert all(phase.steps > 0 for phases in of_arm.values() for phase in phases)
    learnt = {arm: [phase.rows.tolist() for phase in phases] for arm, phases in of_arm.items()}
    first, then = synthetic.tolist(), real.tolist()
    assert learnt == {"real": [then], "real+synthetic": [then + first], "synthetic_then_real": [first, then]}


def test_the_grid_has_every_point_once_and_keeps_one_network_of_each_kind():
    config = load_config(
        None, ["downstream.networks=[densenet121,small]", "downstream.seeds=[7,3]", "data.image_size=64"]
    )
    settings = config.downstream
    points = all_trials(settings)
    assert len({point.key for point in points}) == len(points) == 2 * 3 * 3 * 2
    kept = [point.key for point in points if keeps_weights(point, settings)]
    assert kept == ["densenet121/1/real/7", "small/1/real/7"]


REFUSED = {
    "seeds=[1,2,1]": "downstream.seeds: 1 is listed 2 times",
    "networks=[maxvit]; image_side=100": "maxvit needs a multiple of 32",
    "networks=[densenet121]; image_side=16": "densenet121 needs at least 32",
    "n_synthetic=601": "sample.n_images is 600",
    "weights={maxvit: a.pth}": "not in downstream.networks",
    "shares=[0]": "downstream.shares",
}


@pytest.mark.parametrize("words", REFUSED)
def test_settings_that_cannot_work_are_refused(words):
    with pytest.raises(ConfigError) as refusal:
        load_config(None, [f"downstream.{word}" for word in words.split("; ")])
    assert REFUSED[words] in str(refusal.value)


def test_both_networks_of_the_paper_run_at_224_pixels():
    load_config(None, ["downstream.networks=[densenet121,maxvit]", "downstream.image_side=224"])
