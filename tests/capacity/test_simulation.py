"""The pool of actors on paper: what holds whatever the numbers are."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vapray.capacity.mapping import pool_seconds
from vapray.capacity.pool import ActorPool, Driver
from vapray.capacity.pool_sizes import driver_bound_size
from vapray.capacity.simulation import simulate
from vapray.row_map import RESTARTS_OF_AN_ACTOR

LENGTHS = st.lists(st.floats(0.01, 10), min_size=1, max_size=60)
POOLS = st.builds(
    lambda least, more, overlap, start, cores, overhead: ActorPool(
        least, least + more, overlap, start, cores, overhead_seconds=overhead
    ),
    st.integers(1, 6),
    st.integers(0, 6),
    st.integers(1, 3),
    st.floats(0, 5),
    st.none() | st.integers(1, 3),
    st.floats(0, 1),
)
DRIVERS = st.builds(Driver, st.floats(0, 3), st.floats(0, 0.5), st.sampled_from([0.0, 0.1, 1.0]), st.floats(0, 3))


@given(LENGTHS, POOLS, DRIVERS)
@settings(max_examples=150, deadline=None)
def test_every_item_is_worked_on_once_and_nothing_beats_the_critical_path(lengths, pool, driver):
    found = simulate(lengths, pool, driver)
    assert sum(found.items_of_actors) == len(lengths)
    assert found.worked_seconds == pytest.approx(sum(lengths) + len(lengths) * pool.overhead_seconds)
    assert found.redone_seconds == found.deaths == 0
    before = driver.setup_seconds + pool.start_seconds + driver.seconds_per_item
    longest = before + max(lengths) + pool.overhead_seconds + driver.finish_seconds
    shared = driver.setup_seconds + found.worked_seconds / (pool.max_size * pool.overlap)
    assert found.wall_seconds >= max(longest, shared) - 1e-6
    assert found.wall_seconds >= driver.setup_seconds + len(lengths) * driver.seconds_per_item
    assert 0 < found.utilisation <= 1 + 1e-9
    assert -1e-9 <= found.tail_idle_share <= 1
    assert max(found.started_at) < math.inf or pool.max_size > pool.min_size


@given(LENGTHS, POOLS, DRIVERS, st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_the_same_seed_gives_the_same_outcome(lengths, pool, driver, seed):
    mortal = ActorPool(**{**vars(pool), "seconds_between_deaths": 20.0})
    assert simulate(lengths, mortal, driver, seed=seed) == simulate(lengths, mortal, driver, seed=seed)


def test_small_pools_come_out_as_by_hand():
    assert simulate([1.0] * 10, ActorPool(2, 2)).wall_seconds == 5
    behind = simulate([3.0, 1.0, 1.0, 1.0], ActorPool(2, 2))
    assert behind.wall_seconds == 4  # the third was handed to the first actor, and waits behind its first
    found = simulate([2.0] * 3, ActorPool(1, 1, start_seconds=5, overhead_seconds=1), Driver(10, 0, 0, 7))
    assert found.wall_seconds == 10 + 5 + 3 * 3 + 7
    assert found.utilisation == pytest.approx(9 / 14)
    late = simulate([1.0, 1.0], ActorPool(2, 2, starts_at=(4.0, 9.0)), Driver(poll_seconds=0.5))
    assert late.started_at == (4.0, math.inf)  # it came when all was done
    assert (late.wall_seconds, late.items_of_actors) == (6.0, (2, 0))


def test_starting_actors_share_the_cores_that_there_are():
    def started(actors: int, cores: int | None) -> set[float]:
        lengths = [100.0] * 2 * actors
        return {round(at, 6) for at in simulate(lengths, ActorPool(actors, actors, 1, 3.0, cores)).started_at}

    assert started(8, None) == {3.0}
    assert started(2, 2) == {3.0}
    assert started(8, 2) == {12.0}


def test_results_are_seen_late_unless_nothing_else_is_under_way():
    alone = simulate([0.25], ActorPool(1, 1), Driver(poll_seconds=1.0))
    assert alone.wall_seconds == 0.25
    short = simulate([0.01] * 40, ActorPool(1, 1), Driver(poll_seconds=1.0))
    two = simulate([0.01, 5.0], ActorPool(2, 2), Driver(poll_seconds=1.0))
    assert two.wall_seconds == 5.0
    assert short.wall_seconds == pytest.approx(0.4)  # both items of its queue are done before the driver sees one


def test_more_actors_help_until_the_driver_has_no_more_to_give():
    lengths, driver = [1.0] * 2000, Driver(seconds_per_item=0.02)
    walls = {size: simulate(lengths, ActorPool(size, size), driver).wall_seconds for size in (4, 8, 16, 32, 64, 128)}
    sizes = list(walls)
    bound = driver_bound_size(1.0, 0.02)
    assert bound == 50
    for smaller, larger in itertools.pairwise(sizes):
        assert walls[larger] <= walls[smaller] + 1e-9
        if larger < bound:
            assert walls[larger] == pytest.approx(walls[smaller] / 2, rel=0.05)
    assert walls[128] == pytest.approx(walls[64], rel=0.02) == pytest.approx(2000 * 0.02 + 1, rel=0.03)


@pytest.mark.parametrize("overlap", [1, 2, 3])
def test_a_pool_grows_while_work_waits(overlap):
    lengths = [1.0] * 400
    assert len(simulate(lengths, ActorPool(1, 6, overlap=overlap)).items_of_actors) == 6


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_deaths_cost_the_work_that_is_done_again_and_the_starts(seed):
    # One actor works for 67 s, so that it dies once in four runs; that it dies too often is one run in ten millions.
    pool = ActorPool(3, 3, start_seconds=0.5, seconds_between_deaths=300.0)
    lengths = [1.0] * 200
    alive, mortal = simulate(lengths, ActorPool(3, 3, start_seconds=0.5)), simulate(lengths, pool, seed=seed)
    assert not mortal.failed
    assert sum(mortal.items_of_actors) == 200
    assert mortal.worked_seconds == pytest.approx(alive.worked_seconds)
    lost = mortal.redone_seconds + 0.5 * mortal.deaths
    assert mortal.redone_seconds <= mortal.deaths * 1.0
    assert mortal.wall_seconds <= alive.wall_seconds + lost + 1e-6
    assert mortal.wall_seconds >= alive.wall_seconds + lost / 3 - 1.0 - 0.5 - 1e-6


def test_one_actor_pays_for_its_deaths_exactly():
    pool = ActorPool(1, 1, start_seconds=2.0, seconds_between_deaths=15.0)
    found = next(one for one in (simulate([1.0] * 50, pool, seed=seed) for seed in range(50)) if one.deaths == 3)
    assert found.wall_seconds == pytest.approx(2.0 + 50 + found.redone_seconds + 3 * 2.0)


def test_what_dies_too_often_fails():
    often = simulate([10.0] * 20, ActorPool(2, 2, seconds_between_deaths=1.0))
    assert often.failed
    assert often.deaths >= RESTARTS_OF_AN_ACTOR
    assert sum(often.items_of_actors) < 20


@pytest.mark.parametrize("actors", [4, 16])
def test_the_formula_of_the_estimate_is_the_simulation(actors):
    rows, items, commit = 64_000, 500, 0.1
    said = pool_seconds(rows, items, actors, 1, {"GPU": 0.02}, commit)
    lengths = [0.02 * rows / items] * items
    assert said == pytest.approx(simulate(lengths, ActorPool(actors, actors, 1, overhead_seconds=commit)).wall_seconds)


def test_overlap_hides_commits_and_never_gives_a_second_gpu():
    row = {"GPU": 0.02}
    serial, hidden, more = (pool_seconds(64_000, 500, 10, overlap, row, 1.0) for overlap in (1, 2, 9))
    assert serial == pytest.approx(50 * 3.56)
    assert hidden == more == pytest.approx(50 * 2.56)
