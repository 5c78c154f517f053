"""Machines, drivers and cables are lost in the middle of a job; in the end the tables are those of one machine."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.cluster.job import Job, until
from tests.cluster.rig import HEAD, Rig
from tests.conftest import ROOT
from tests.faults.ray_processes import gone_within, lives
from tests.faults.unbroken_run import TABLES_OF, Difference, UnbrokenRun

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

WORKERS = (1, 2, 3)
ACTOR, RANK = "ray::MapWorker", "ray::RayTrainWorker"
SECONDS_FOR_ORPHANS, SECONDS_TO_NOTICE = 30, 100
STEPS = 1200
LONG = (f"train.steps={STEPS}", "train.checkpoint_every=50", "train.validate_every=0")


@pytest.fixture
def begin(rig, unbroken, settings, tmp_path) -> Callable[..., Job]:
    """Sends a stage of a run of which everything before is done."""

    def send(stage: str, *overrides: str) -> Job:
        root = tmp_path / stage
        if not root.exists():
            unbroken.copy_before(stage, root)
        words = (f"run.root={root}", "cluster.shared_filesystem=true", *settings, *overrides)
        return rig.submit("python", "-m", f"jobs.{stage}", *words)

    return send


def parts(root: Path, stage: str) -> list[Path]:
    return list(root.glob(f"{TABLES_OF[stage]}/*/parts/*"))


def is_sealed(root: Path, stage: str) -> bool:
    return any(root.glob(f"{TABLES_OF[stage]}/*/manifest.json"))


def whole(unbroken: UnbrokenRun, stage: str, root: Path) -> bool:
    return unbroken.difference(stage, unbroken.version(stage, root)) == Difference(0, 0, ())


def where(rig: Rig, title: str) -> dict[int, list[psutil.Process]]:
    """Worker -> its processes of a title, where there are any."""
    found = {worker: rig.processes(worker, title) for worker in WORKERS}
    return {worker: processes for worker, processes in found.items() if processes}


def at_work(rig: Rig, job: Job, root: Path, stage: str) -> dict[int, list[psutil.Process]]:
    """Where the stage's actors are, once it has committed something."""
    until(lambda: parts(root, stage) or not job.is_running(), f"a first part of {stage}", 240)
    assert job.is_running(), job.said()
    assert not is_sealed(root, stage)
    return where(rig, ACTOR)


def test_a_machine_is_lost_while_it_captions(rig, begin, unbroken, tmp_path):
    job = begin("caption")
    machine, actors = next(iter(at_work(rig, job, tmp_path / "caption", "caption").items()))
    assert set(actors) <= set(rig.kill(machine))
    assert not is_sealed(tmp_path / "caption", "caption")
    assert job.wait() == 0, job.said()
    until(lambda: rig.address(machine) in rig.counts("DEAD"), "Ray counts the machine as lost")
    assert whole(unbroken, "caption", tmp_path / "caption")


def test_a_cut_cable_and_the_actor_behind_it_that_works_on(rig, begin, unbroken, tmp_path):
    """What it commits meanwhile, for it sees the same disk, is nobody's loss; when the cable is back, it goes."""
    job = begin("caption")
    machine, actors = next(iter(at_work(rig, job, tmp_path / "caption", "caption").items()))
    rig.cut(machine)
    try:
        assert not is_sealed(tmp_path / "caption", "caption")
        until(lambda: rig.address(machine) in rig.counts("DEAD"), "Ray counts the machine as lost")
        assert all(lives(actor) for actor in actors), "they died by themselves: nobody was cut off"
        assert job.wait() == 0, job.said()
    finally:
        rig.heal(machine)
    assert not gone_within(SECONDS_TO_NOTICE, actors)
    if rig.is_on(machine):  # its Ray does not always notice that it was given up when the cable is back within 20 s
        rig.kill(machine)
    assert whole(unbroken, "caption", tmp_path / "caption")


def test_the_driver_of_the_captions_is_killed_and_the_job_sent_again(rig, begin, unbroken, tmp_path):
    job = begin("caption")
    actors = at_work(rig, job, tmp_path / "caption", "caption")
    (driver,) = rig.processes(HEAD, "python -m jobs.caption")
    driver.kill()
    assert job.wait() == 1
    assert "exit code 137" in job.said()
    assert not is_sealed(tmp_path / "caption", "caption")
    assert not gone_within(SECONDS_FOR_ORPHANS, [actor for found in actors.values() for actor in found])
    again = begin("caption")
    assert again.wait() == 0, again.said()
    assert whole(unbroken, "caption", tmp_path / "caption")


def test_the_head_is_lost_and_the_job_sent_again_to_a_new_cluster(rig, begin, unbroken, tmp_path):
    job = begin("caption")
    actors = at_work(rig, job, tmp_path / "caption", "caption")
    (driver,) = rig.processes(HEAD, "python -m jobs.caption")
    assert driver in rig.kill(HEAD)
    assert job.wait() == 1
    assert not is_sealed(tmp_path / "caption", "caption")
    assert not gone_within(SECONDS_TO_NOTICE, [actor for found in actors.values() for actor in found])
    until(lambda: not any(map(rig.is_on, WORKERS)), "workers without a head end")
    rig.power_on()
    again = begin("caption")
    assert again.wait() == 0, again.said()
    assert whole(unbroken, "caption", tmp_path / "caption")


@pytest.fixture(scope="module")
def trained(unbroken, settings, tmp_path_factory) -> UnbrokenRun:
    """A longer training of two ranks on one machine, undisturbed."""
    root = tmp_path_factory.mktemp("trained") / "train"
    unbroken.copy_before("train", root)
    command = [sys.executable, "-m", "jobs.train", f"run.root={root}", *settings, *LONG]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return UnbrokenRun(root)


def step(root: Path) -> int:
    """Of the newest whole training state."""
    states = root.glob("checkpoints/*/files/steps/step-*/manifest.json")
    return max((int(path.parent.name[5:]) for path in states), default=0)


def ranks(rig: Rig, job: Job, root: Path, later_than: int) -> dict[int, list[psutil.Process]]:
    """Where the two ranks are, once there is a training state later than a step."""
    until(lambda: step(root) > later_than or not job.is_running(), f"a state after step {later_than}", 400)
    assert job.is_running(), job.said()
    found = where(rig, RANK)
    assert [len(processes) for processes in found.values()] == [1, 1]
    return found


def test_a_rank_is_killed_then_its_machine_is_lost_and_the_weights_are_the_same(rig, begin, trained, tmp_path):
    job, root = begin("train", *LONG), tmp_path / "train"
    (rank,) = ranks(rig, job, root, 0).popitem()[1]
    rank.kill()
    assert not gone_within(10, [rank])
    machine, (rank,) = ranks(rig, job, root, step(root)).popitem()
    assert rank in rig.kill(machine)
    assert step(root) < STEPS
    assert job.wait() == 0, job.said()
    assert whole(trained, "train", root)


def test_a_second_run_is_refused_and_the_first_one_told_to_end_leaves_what_the_next_goes_on_from(
    rig, begin, trained, tmp_path
):
    first, root = begin("train", *LONG), tmp_path / "train"
    ranks(rig, first, root, 0)
    second = begin("train", *LONG)
    assert second.wait() == 1
    assert "is writing this version" in second.said() and "Traceback" not in second.said()
    assert first.is_running(), first.said()

    rig.stop(first)
    first.wait()
    left = int(re.search(r"checkpoint written at step ([\d,]+)", first.said())[1].replace(",", ""))
    newest = step(root)  # training goes on until its driver ends: a checkpoint in its turn may follow
    assert left <= newest < STEPS
    last = begin("train", *LONG)
    assert last.wait() == 0, last.said()
    assert f"step {newest:,}" in last.said()
    assert whole(trained, "train", root)
