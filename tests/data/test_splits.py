"""Groups stay whole; classes keep their shares."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vapray.data.records import ImageRecord
from vapray.data.splits import crossing_groups, split_by_group
from vapray.errors import ConfigError


def make_records(sizes: list[tuple[int, int]]) -> list[ImageRecord]:
    """One group per (label, number of pictures)."""
    return [
        ImageRecord(f"{group}-{number}", f"class {label}", label, "train", f"group {group}", f"/{group}/{number}.png")
        for group, (label, count) in enumerate(sizes)
        for number in range(count)
    ]


def assert_whole(records: list[ImageRecord]) -> None:
    assert not list(crossing_groups((record.group, record.split) for record in records))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), min_size=1, max_size=60),
    st.floats(0, 0.4),
    st.floats(0, 0.4),
    st.integers(0, 9),
)
def test_no_group_is_on_two_sides_and_no_picture_is_lost(
    sizes: list[tuple[int, int]], validation_share: float, test_share: float, seed: int
) -> None:
    records = make_records(sizes)
    split = split_by_group(records, validation_share=validation_share, test_share=test_share, seed=seed)
    assert_whole(split)
    assert [record.image_id for record in split] == [record.image_id for record in records]
    for label in {label for label, _ in sizes}:
        sides = Counter(record.split for record in split if record.label == label)
        total = sides.total()
        assert abs(sides["test"] - test_share * total) <= 3
        assert abs(sides["validation"] - validation_share * total) <= 3


def test_the_split_does_not_depend_on_the_order_of_records_but_on_the_seed() -> None:
    records = make_records([(number % 3, 1 + number % 4) for number in range(60)])

    def sides(given: list[ImageRecord], seed: int) -> dict[str, str]:
        split = split_by_group(given, validation_share=0.2, test_share=0.2, seed=seed)
        return {record.image_id: record.split for record in split}

    assert sides(records, 1) == sides(records[::-1], 1)
    assert sides(records, 1) != sides(records, 2)


def test_a_group_of_several_classes_stays_whole() -> None:
    records = [
        ImageRecord(f"{group}-{label}", str(label), label, "train", str(group), "/x")
        for group in range(30)
        for label in range(2)
    ]
    split = split_by_group(records, validation_share=0.2, test_share=0.3, seed=0)
    assert_whole(split)
    assert {record.split for record in split} == {"train", "validation", "test"}


@pytest.mark.parametrize(("validation_share", "test_share"), [(-0.1, 0.2), (0.5, 0.5), (0.2, 1.5), (float("nan"), 0.1)])
def test_shares_that_leave_nothing_to_train_on_are_refused(validation_share: float, test_share: float) -> None:
    with pytest.raises(ConfigError, match="validation_share"):
        split_by_group(make_records([(0, 1)]), validation_share=validation_share, test_share=test_share, seed=0)


def test_groups_on_two_sides_are_named_up_to_five() -> None:
    (problem,) = crossing_groups((f"lesion {group}", side) for group in range(7) for side in ("train", "test"))
    assert problem.startswith("7 groups (lesion 0: test and train, ")
    assert "lesion 4: test and train" in problem and "lesion 5" not in problem
