"""Laws of taking turns."""

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from vapray.diffusion.step_batching import StepBatcher, context_lengths, in_turns, smallest_batch_size

GROUPS, MOST = 4, 5
images = st.lists(st.tuples(st.integers(0, GROUPS - 1), st.integers(1, 2)), min_size=1, max_size=12)


def choose(batcher, waiting):
    def rows_of(number, count):
        return [(number, half) for half in range(count)]

    return batcher.next_batch((group, partial(rows_of, number, count)) for number, (group, count) in enumerate(waiting))


@given(images)
def test_a_call_holds_the_oldest_rows_of_the_fullest_group_and_has_no_gap(waiting):
    chosen = choose(StepBatcher(MOST), waiting)
    rows = {group: [] for group in range(GROUPS)}
    for number, (group, count) in enumerate(waiting):
        rows[group] += [(number, half) for half in range(count)]
    oldest, _ = chosen[0]
    assert chosen == rows[waiting[oldest][0]][:MOST]
    assert len(chosen) == min(MOST, max(map(len, rows.values())))


@given(st.lists(images, min_size=20, max_size=40))
def test_no_group_waits_longer_than_two_calls_and_one_for_each_other_that_waits_too(calls):
    batcher, waited = StepBatcher(MOST), dict.fromkeys(range(GROUPS), 0)
    for waiting in calls:
        oldest, _ = choose(batcher, waiting)[0]
        turn, there = waiting[oldest][0], {group for group, _ in waiting}
        waited = {group: waited[group] + 1 if group in there - {turn} else 0 for group in range(GROUPS)}
        assert max(waited.values()) <= 2 + GROUPS - 2


@given(st.integers(1, 300), st.data())
def test_a_caption_is_padded_to_the_least_that_holds_it(room, data):
    lengths = context_lengths(room)
    length = data.draw(st.integers(0, room))
    padded = smallest_batch_size(length, lengths)
    assert length <= padded <= room and lengths[-1] == room
    assert all(other >= padded for other in lengths if other >= length)


@given(st.lists(st.sampled_from("abc"), max_size=30))
def test_owners_take_turns_and_each_keeps_its_order(owners):
    images = [*enumerate(owners)]
    ordered = in_turns(images, lambda image: image[1])
    assert sorted(ordered) == images
    for owner in "abc":
        own = [image for image in ordered if image[1] == owner]
        assert own == sorted(own)
    present = {*owners}
    assert {owner for _, owner in ordered[: len(present)]} == present
    if len(present) < 2:
        assert ordered == images
