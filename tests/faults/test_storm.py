"""Actors, workers and drivers of real stages are killed with SIGKILL; the table in the end is the unbroken run's.

``python -m tests.faults.storm`` does the same hundreds of times.
"""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from tests.conftest import SMALL
from tests.faults.storm import TABLE_STAGES, draw, storm, totals
from tests.faults.stricken_stage import Blow, Outcome, Scene, Strikes, scene_of, strike_stage
from tests.faults.unbroken_run import Difference, UnbrokenRun
from vapray.store.manifest import Manifest
from vapray.store.part_list import PartList
from vapray.store.version import Version


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    with scene_of(tmp_path_factory.mktemp("storm")) as scene:
        yield scene


def assert_nothing_is_lost(outcome: Outcome) -> None:
    assert not outcome.problem
    assert outcome.difference == Difference(0, 0, ())
    assert outcome.orphans == []


def test_a_killed_actor_and_then_a_killed_driver_cost_nothing(small_run, tmp_path):
    scene = Scene(tmp_path, UnbrokenRun(small_run), (*SMALL, "pools.caption.min_size=1"))
    outcome = strike_stage(scene, Strikes("caption", (Blow("worker", 0.2), Blow("driver", 0.6))))
    assert outcome.hits == {"worker": 1, "workers": 0, "driver": 1}
    assert outcome.restarts == 1
    assert_nothing_is_lost(outcome)


@pytest.mark.slow
def test_a_storm_over_the_stages_costs_nothing(scene):
    outcomes = list(storm(scene, TABLE_STAGES, count=6, seed=5))
    for outcome in outcomes:
        assert sum(outcome.hits.values()), outcome
        assert_nothing_is_lost(outcome)
    assert totals(outcomes)["struck"] == 6


@pytest.mark.slow
def test_a_driver_killed_on_a_cluster_is_followed_while_its_workers_may_still_write(scene):
    """A part that nobody asked for is committed at each blow and after the end, as by a worker cut off from Ray."""
    blows = (Blow("driver", 0.3), Blow("workers", 0.5), Blow("driver", 0.7))
    outcome = strike_stage(scene, Strikes("encode", blows, late_part=7))
    assert outcome.hits["driver"] == 2
    assert_nothing_is_lost(outcome)


@pytest.mark.slow
def test_a_task_whose_process_is_killed_is_done_again(scene):
    # Early: the stage may go faster than in the run that the moment is a share of.
    outcome = strike_stage(scene, Strikes("autoencoder", (Blow("worker", 0.1),)))
    assert outcome.hits["worker"] == 1
    assert_nothing_is_lost(outcome)


def seal_like(unbroken: UnbrokenRun, version: Version) -> Manifest:
    known = unbroken.manifest("bank")
    return version.seal(
        stage="bank", sections=known.sections, inputs=known.inputs, seconds=1.0, versions={}, notes=known.notes
    )


def test_a_lost_and_a_changed_row_are_seen(small_run, tmp_path):
    """A comparison that finds nothing anywhere would make every storm a success."""
    unbroken = UnbrokenRun(small_run)
    whole = unbroken.version("bank").read(rejects=True)
    version = unbroken.copy_before("bank", tmp_path)
    changed = whole.slice(0, 1).set_column(1, "label", pa.array([99], pa.int32()))
    version.write_part(pa.concat_tables([changed, whole.slice(1, whole.num_rows - 3)]))
    seal_like(unbroken, version)
    found = unbroken.difference("bank", version)
    first, *_, last = whole.column("image_id").to_pylist()
    assert found.lost == 2
    assert found.duplicated == 0
    assert {first, last, "rows"} <= set(found.differing)


def test_a_row_in_two_listed_parts_is_seen(small_run, tmp_path):
    unbroken = UnbrokenRun(small_run)
    whole = unbroken.version("bank").read(rejects=True)
    version = unbroken.copy_before("bank", tmp_path)
    version.write_part(whole)
    manifest = seal_like(unbroken, version)
    twice = replace(manifest, parts=PartList.of([*manifest.parts, version.write_part(whole.slice(0, 2))]))
    Path(version.uri, "manifest.json").write_bytes(twice.to_json({}.__setitem__))
    assert unbroken.difference("bank", unbroken.version("bank", tmp_path)).duplicated == 2


def test_the_same_seed_draws_the_same_storm():
    assert draw("caption", 3, seed=0) == draw("caption", 3, seed=0)
    assert len({draw("caption", number, seed=0) for number in range(20)}) == 20
