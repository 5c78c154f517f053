"""Laws of taking turns."""

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from vapray.diffusion.rota import Rota, context_lengths, fitting_size

GROUPS, MOST = 4, 5
images = st.lists(st.tuples(st.integers(0, GROUPS - 1), st.integers(1, 2)), min_size=1, max_size=12)


def rows_of(number: int, count: int) -> list[tuple[int, int]]:
    return [(number, half) for half in range(count)]


@given(images)
def test_a_call_holds_the_oldest_rows_of_one_group_and_has_no_gap(waiting):
    turn, chosen = Rota(MOST).choose(
        (group, partial(rows_of, number, count)) for number, (group, count) in enumerate(waiting)
    )
    rows = {group: [] for group in range(GROUPS)}
    for number, (group, count) in enumerate(waiting):
        rows[group] += rows_of(number, count)
    assert chosen == rows[turn][:MOST]
    assert len(chosen) == min(MOST, max(map(len, rows.values())))  # nobody has waited yet: the fullest


@given(st.lists(images, min_size=20, max_size=40))
def test_no_group_waits_longer_than_two_calls_and_those_of_the_others(calls):
    rota, waited = Rota(MOST), dict.fromkeys(range(GROUPS), 0)
    for waiting in calls:
        turn, _ = rota.choose((group, partial(rows_of, number, count)) for number, (group, count) in enumerate(waiting))
        there = {group for group, _ in waiting}
        waited = {group: waited[group] + 1 if group in there and group != turn else 0 for group in range(GROUPS)}
        assert max(waited.values()) <= 2 + GROUPS - 2


@given(st.integers(1, 300), st.data())
def test_a_caption_is_padded_to_the_least_that_holds_it(room, data):
    lengths = context_lengths(room)
    length = data.draw(st.integers(0, room))
    padded = fitting_size(length, lengths)
    assert length <= padded <= room and lengths[-1] == room
    assert all(other >= padded for other in lengths if other >= length)
