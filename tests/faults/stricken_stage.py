"""One stage of a finished run done again under blows: who is killed when, and what came of it."""

import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from tests.faults.ray_processes import Driver, cluster, gone_within, killed, lives
from tests.faults.unbroken_run import Difference, UnbrokenRun
from vapray.store.version import Version

__all__ = ["Blow", "Outcome", "Scene", "Strikes", "scene_of", "strike_stage"]

# Two rows in most parts, so that even a quick stage takes a dozen commits, and two actors in each pool.
SETTINGS = (
    "data.phantom.n_images=30", "data.phantom.width=64", "data.phantom.height=48",
    "pools.ingest.batch_rows=2", "pools.ingest.min_size=2",
    "pools.caption.batch_rows=2", "pools.caption.min_size=2",
    "pools.bank.batch_rows=2", "pools.bank.max_size=2", "pools.bank.min_size=2",
    "pools.encode.batch_rows=2", "pools.encode.max_size=2", "pools.encode.min_size=2",
    "pools.sample.batch_rows=2", "pools.sample.min_size=2",
    "pools.evaluate.batch_rows=3", "pools.evaluate.min_size=2",
    "pools.autoencoder.num_cpus=1", "autoencoder.steps=20", "autoencoder.batch_size=4",
    "model.width=16", "model.depth=2", "model.num_heads=2",
    "train.steps=30", "train.batch_size=8", "train.warmup_steps=2", "train.log_every=5", "train.checkpoint_every=5",
    "sample.n_images=16", "sample.num_inference_steps=3",
    "evaluate.classifier_steps=20", "evaluate.half_samples=4", "evaluate.bootstrap_samples=20",
)  # fmt: skip
ONE_ACTOR_EACH = tuple(
    f"pools.{stage}.{size}=1"
    for stage in ("ingest", "caption", "bank", "encode", "sample", "evaluate")
    for size in ("min_size", "max_size")
)
SECONDS_FOR_A_STAGE = 400
SECONDS_FOR_ORPHANS = 30
Target = Literal["worker", "workers", "driver"]


@dataclass(frozen=True)
class Blow:
    """What to kill, and when.

    Attributes:
        target: one worker process (a busy one if there is one), all of them, or the driver.
        moment: 0..1 of the stage's parts; of its seconds, where ``by_time`` or where it has no parts.
        by_time: can also fall before the first part and behind the last.
    """

    target: Target
    moment: float
    by_time: bool = False


@dataclass(frozen=True)
class Strikes:
    """A stage and the blows it gets.

    Attributes:
        embedded: its drivers start a Ray of their own, which dies with them; else they join the scene's cluster.
        late_part: this part is committed by nobody who should, at each blow and again after the end.
    """

    stage: str
    blows: tuple[Blow, ...]
    embedded: bool = False
    late_part: int | None = None


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        hits: blows that killed something alive while the stage was unfinished before and after.
        restarts: starts of the identical command after a driver's death.
        zombies: workers of dead drivers that were still there when the next driver had started.
        orphans: processes of ended drivers that were still there 30 s later.
        problem: how the command ended, if not well.
    """

    stage: str
    hits: dict[Target, int] = field(default_factory=lambda: {"worker": 0, "workers": 0, "driver": 0})
    restarts: int = 0
    zombies: int = 0
    orphans: list[str] = field(default_factory=list)
    difference: Difference | None = None
    problem: str = ""

    @property
    def is_bad(self) -> bool:
        """Something was lost, duplicated, changed or left behind, or the command did not end well."""
        return bool(self.difference or self.problem or self.orphans)


@dataclass(frozen=True)
class Scene:
    """A finished run whose stages are done again.

    Attributes:
        work: folder for the copies.
        unbroken: the run that nothing disturbed.
        settings: of every command; they make the run what it is.
        address: a cluster for drivers to join.
        keeper_pid: the process below which that cluster's workers are.
    """

    work: Path
    unbroken: UnbrokenRun
    settings: tuple[str, ...]
    address: str | None = None
    keeper_pid: int | None = None

    def start(self, stage: str, root: Path, *, embedded: bool = False) -> Driver:
        """Start the command of a stage."""
        address, pid = (None, None) if embedded else (self.address, self.keeper_pid)
        return Driver(stage, (f"run.root={root}", *self.settings), root.with_suffix(".log"), address, pid)


@contextmanager
def scene_of(work: Path) -> Iterator[Scene]:
    """Start a cluster and run the pipeline undisturbed; a run that is finished already is taken as it is."""
    settings = (f"data.root={work / 'phantoms'}", *SETTINGS)
    with cluster(num_cpus=8) as (address, pid):
        scene = Scene(work, UnbrokenRun(work / "unbroken"), settings, address, pid)
        alone = Scene(work, scene.unbroken, (*settings, *ONE_ACTOR_EACH), address, pid)
        code = alone.start("pipeline", scene.unbroken.root).wait(1800)
        assert code == 0, (work / "unbroken.log").read_text()[-2000:]
        yield scene


def strike_stage(scene: Scene, strikes: Strikes) -> Outcome:
    """Do the stage under blows in a copy of the run, which is removed unless something is wrong."""
    root = Path(tempfile.mkdtemp(prefix=f"{strikes.stage}-", dir=scene.work))
    version = scene.unbroken.copy_before(strikes.stage, root)
    outcome = Outcome(strikes.stage)
    if strikes.stage == "ingest":
        shutil.rmtree(scene.work / "phantoms")  # drawing them is part of the stage
    with ThreadPoolExecutor() as watch:
        ends = [
            (seen, watch.submit(gone_within, SECONDS_FOR_ORPHANS, seen))
            for seen in _drive(scene, strikes, root, outcome)
        ]
        outcome.orphans = [seen[process] for seen, end in ends for process in end.result()]
    if not outcome.problem:
        if strikes.late_part is not None:
            scene.unbroken.commit_late(strikes.stage, version, strikes.late_part + 1)
        outcome.difference = scene.unbroken.difference(strikes.stage, version)
    if not outcome.is_bad:
        shutil.rmtree(root)
        root.with_suffix(".log").unlink()
    return outcome


def _drive(scene: Scene, strikes: Strikes, root: Path, outcome: Outcome) -> Iterator[dict[psutil.Process, str]]:
    """Start, strike, start again until the command ends; hands over the processes of each driver that has ended."""
    driver = scene.start(strikes.stage, root, embedded=strikes.embedded)
    version = scene.unbroken.version(strikes.stage, root)
    for blow in strikes.blows:
        if not _reach(scene, strikes.stage, blow, driver, version):
            break
        if strikes.late_part is not None:
            scene.unbroken.commit_late(strikes.stage, version, strikes.late_part)
        outcome.hits[blow.target] += _strike(blow, driver, version)
        if blow.target == "driver":
            # The identical command, at once: the dead driver's workers may still be writing.
            dead, driver = driver, scene.start(strikes.stage, root, embedded=strikes.embedded)
            outcome.zombies += sum(map(lives, dead.seen))
            outcome.restarts += 1
            yield dead.seen
    code = driver.wait(SECONDS_FOR_A_STAGE)
    if code != 0:
        outcome.problem = f"exit code {code}: {root.with_suffix('.log').read_text()[-600:]}"
        driver.kill()
    yield driver.seen


def _reach(scene: Scene, stage: str, blow: Blow, driver: Driver, version: Version) -> bool:
    """Wait for the moment of a blow; False if the command ended before."""
    whole = scene.unbroken.manifest(stage)
    parts = 0 if blow.by_time else round(blow.moment * len(whole.parts))
    seconds = 0.0 if parts else blow.moment * whole.seconds
    while driver.is_running():
        if _parts(version) >= parts and time.monotonic() >= driver.started + seconds:
            if blow.target == "driver" or driver.workers():
                return True
            time.sleep(0.05)
        time.sleep(0.01)
    return False


def _strike(blow: Blow, driver: Driver, version: Version) -> bool:
    """Kill; True if what was hit was alive and the stage is unfinished even after the blow."""
    if blow.target == "driver":
        return driver.kill() and _is_open(version)
    found = driver.workers(busy=blow.target == "worker")
    chosen = [random.choice(found)] if blow.target == "worker" and found else found
    return bool(sum(map(killed, chosen))) and driver.is_running() and _is_open(version)


def _is_open(version: Version) -> bool:
    return not (Path(version.uri) / "manifest.json").exists()


def _parts(version: Version) -> int:
    folder = Path(version.uri) / "parts"
    return len([name for name in os.listdir(folder) if not name.startswith(".")]) if folder.is_dir() else 0
