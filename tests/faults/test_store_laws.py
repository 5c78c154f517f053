"""Whatever is killed, and whoever overlaps: the identical command ends with the table of an unbroken run."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.faults.failing_disk import FailingDisk, Killed, When, folder_in_memory
from tests.store.test_version import seal
from vapray.errors import DataError, LeaseHeldError
from vapray.runtime.row_map import MapWorker, _plan
from vapray.store.lease import Lease
from vapray.store.tables import REJECT, TABLES, build_part
from vapray.store.version import Manifest, Store, Version

SOURCE = [f"image-{number}" for number in range(7)]
REJECTED = {"image-2", "image-5"}
SEEN: Counter[str] = Counter()


@pytest.fixture(scope="module", autouse=True)
def told():
    yield
    print("\n" + ", ".join(f"{number:,} {what}" for what, number in sorted(SEEN.items())))


@dataclass(frozen=True)
class Mark:
    """The map of the stage; its rows say which attempt made them, as a language model's would."""

    attempt: int = 0

    def __call__(self, rows: pa.Table) -> pa.Table:
        keys = rows.column("image_id").to_pylist()
        done = [{"image_id": key, "class": f"attempt {self.attempt}"} for key in keys if key not in REJECTED]
        return build_part(TABLES["images"], done, {key: f"{key} is bad" for key in keys if key in REJECTED})


@dataclass
class Machine:
    """A root that every attempt shares, and a clock that can be moved past a lease."""

    root: Path
    now: float = 1_000_000.0
    numbers: Iterator[int] = field(default_factory=count)

    def source(self) -> Version:
        version = Store(str(self.root)).version("ingest_plan", "v")
        for names in (SOURCE[:4], SOURCE[4:]):
            version.write_part(build_part(TABLES["ingest_plan"], [{"image_id": name} for name in names]))
        return version

    def output(self) -> Version:
        return Store(str(self.root)).version("images", "v")


class Attempt:
    """One start of the stage's command, step by step, on a disk of its own."""

    def __init__(self, machine: Machine, batch_rows: int, disk: FailingDisk, *, marked: bool = False) -> None:
        self.machine, self.batch_rows, self.disk, self.marked = machine, batch_rows, disk, marked
        self.number = next(machine.numbers)
        self.lease: Lease | None = None
        self.left: list[tuple[MapWorker, dict]] = []
        self.steps = self._run()
        self.outcome, self.is_about_to_seal = "", False
        self.manifest: Manifest | None = None

    def step(self) -> bool:
        """One step; False once it has ended."""
        if self.outcome:
            return False
        try:
            with self.disk.installed():
                next(self.steps)
        except StopIteration:
            self.outcome = self.outcome or "finished"
        except Killed:
            self.outcome = "killed"
        except LeaseHeldError:
            self.outcome = "refused"
        if self.outcome:
            SEEN[self.outcome] += 1
            self._end_heart()
        return not self.outcome

    def run(self) -> "Attempt":
        while self.step():
            pass
        return self

    def finish_late(self) -> None:
        """Workers that outlived their driver write what they had been given."""
        for worker, batch in self.left:
            SEEN["late parts"] += 1
            worker(batch)

    def _run(self) -> Iterator[None]:
        output, lease = (
            self.machine.output(),
            Lease(self.machine.output().files, "images/v", clock=lambda: self.machine.now),
        )
        self.lease = lease
        lease.__enter__()
        yield
        if output.manifest() is None:
            yield from self._work(output)
            if not lease.is_held():
                raise LeaseHeldError("another run took over")
            self.is_about_to_seal = True
            yield
            self.manifest = output.seal(
                stage="ingest", sections={}, inputs={}, seconds=1.0, versions={}, notes={"attempt": self.number}
            )
            yield
        lease.__exit__(None, None, None)

    def _work(self, output: Version) -> Iterator[None]:
        output.remove_damaged(lambda line: SEEN.update(["parts mended"]))
        source = self.machine.source()
        yield
        mark = Mark(self.number if self.marked else 0)
        worker = MapWorker(lambda: mark, source, output, ["image_id"])
        items, _ = _plan(source, output.committed_keys(), "{}", self.batch_rows, None)
        self.left = [(worker, {"item": [json.dumps({"part": item.part, "rows": item.rows})]}) for item in items]
        yield
        while self.left:
            worker(self.left[0][1])
            self.left.pop(0)
            yield

    def _end_heart(self) -> None:
        if self.lease and self.lease._heart.is_alive():
            self.lease._stop.set()
            self.lease._heart.join()


def finish(machine: Machine) -> Manifest:
    """The identical command until it ends."""
    machine.now += 61
    attempt = Attempt(machine, 3, FailingDisk()).run()
    assert attempt.outcome == "finished"
    return machine.output().require_manifest()


def assert_each_key_once(machine: Machine, *, marked: bool = False) -> None:
    version = machine.output()
    table, manifest = version.read(rejects=True), version.require_manifest()
    assert table.column("image_id").to_pylist() == SOURCE
    reasons = dict(zip(SOURCE, table.column(REJECT).to_pylist(), strict=True))
    assert reasons == {key: f"{key} is bad" if key in REJECTED else None for key in SOURCE}
    if not marked:
        assert table.equals(Mark()(pa.table({"image_id": SOURCE})).sort_by("image_id"))
    assert (manifest.rows, manifest.rejects) == (len(SOURCE) - len(REJECTED), len(REJECTED))
    assert sum(part.rows + part.rejects for part in manifest.parts) == len(SOURCE)
    in_parts = [key for name in version.part_names() for key in version.read_part(name)["image_id"].to_pylist()]
    assert sorted(in_parts) == SOURCE


BATCH_ROWS = st.integers(1, 5)
KILLS = st.tuples(BATCH_ROWS, st.integers(1, 60), st.sampled_from(["before", "half", "after"]), st.booleans())


@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(KILLS, min_size=1, max_size=4))
def test_a_command_killed_anywhere_any_number_of_times_ends_as_if_unbroken(
    kills: list[tuple[int, int, When, bool]],
) -> None:
    SEEN["sequences of kills"] += 1
    with folder_in_memory() as root:
        machine = Machine(root)
        late = []
        for batch_rows, at, when, is_late in kills:
            machine.now += 61
            disk = FailingDisk(at, when, fault=None)
            attempt = Attempt(machine, batch_rows, disk).run()
            assert (attempt.outcome == "killed") == bool(disk.struck)
            event(attempt.outcome)
            late += [attempt] if is_late and attempt.outcome == "killed" else []
            assert_commits_are_whole(machine)
        with FailingDisk().installed():
            for attempt in late[:1]:
                attempt.finish_late()
        finish(machine)
        assert_each_key_once(machine)
        with FailingDisk().installed():
            for attempt in late[1:]:
                attempt.finish_late()
        assert_each_key_once(machine)


def assert_commits_are_whole(machine: Machine) -> None:
    version = machine.output()
    assert version.committed_keys() <= set(SOURCE)
    if version.manifest():
        assert_each_key_once(machine)


@settings(max_examples=120, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(BATCH_ROWS, min_size=2, max_size=3),
    st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=40),
    st.booleans(),
)
def test_runs_that_overlap_after_an_expiry_end_in_one_table(
    batches: list[int], schedule: list[tuple[int, bool]], marked: bool
) -> None:
    SEEN["schedules of overlapping runs"] += 1
    with folder_in_memory() as root:
        machine = Machine(root)
        runs = [Attempt(machine, batch_rows, FailingDisk(), marked=marked) for batch_rows in batches]
        for which, lease_runs_out in schedule:
            machine.now += 61 * lease_runs_out
            runs[which % len(runs)].step()
        for run in runs:
            run.run()
        finish(machine)
        assert_each_key_once(machine, marked=marked)
        sealed = machine.output().require_manifest()
        for run in runs:  # whoever believes to have sealed it believes in the one manifest there is
            assert run.manifest in (None, sealed)
        event(f"{sum(run.outcome == 'finished' for run in runs)} finished")


@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(BATCH_ROWS, st.integers(0, 6)), min_size=1, max_size=4), BATCH_ROWS)
def test_what_is_sealed_stays_byte_for_byte_while_stale_workers_write(
    starts: list[tuple[int, int]], batch_rows: int
) -> None:
    SEEN["sealings among stale workers"] += 1
    with folder_in_memory() as root, FailingDisk().installed():
        machine = Machine(root)
        stale = [Attempt(machine, batch, FailingDisk(), marked=True) for batch, _ in starts]
        for attempt, (_, steps) in zip(stale, starts, strict=True):
            machine.now += 61
            for _ in range(steps + 3):
                attempt.step()
            attempt._end_heart()
        machine.now += 61
        Attempt(machine, batch_rows, FailingDisk(), marked=True).run()
        before = machine.output().read(rejects=True)
        for attempt in stale:
            attempt.finish_late()
        assert machine.output().read(rejects=True).equals(before)
        assert_each_key_once(machine, marked=True)


def test_the_parts_of_a_manifest_do_not_overlap_when_those_on_the_disk_do(tmp_path):
    version = Store(str(tmp_path)).version("images", "v")
    with FailingDisk().installed():
        for attempt, keys in enumerate((SOURCE[:4], SOURCE[2:], SOURCE[3:5], SOURCE[:1])):
            version.write_part(Mark(attempt)(pa.table({"image_id": keys})))
        before = version.read(rejects=True)
        manifest = seal(version)
    assert sum(part.rows + part.rejects for part in manifest.parts) == len(SOURCE)
    assert (manifest.rows, manifest.rejects) == (len(SOURCE) - len(REJECTED), len(REJECTED))
    assert len(version.files.names("images/v/parts")) > len(manifest.parts)
    assert version.read(rejects=True).equals(before)


def test_of_two_runs_that_seal_the_first_wins():
    """The second was stopped after it had seen that it holds the lease, and woke when the other was done."""
    with folder_in_memory() as root:
        machine = Machine(root)
        stalled = Attempt(machine, 3, FailingDisk(), marked=True)
        while not stalled.is_about_to_seal:
            stalled.step()
        machine.now += 61
        other = Attempt(machine, 2, FailingDisk(), marked=True).run()
        assert (other.outcome, other.manifest) == ("finished", machine.output().require_manifest())
        stalled.run()
        assert stalled.manifest == other.manifest == machine.output().require_manifest()
        assert stalled.manifest.notes["attempt"] == other.number


def test_a_reader_among_writers_sees_whole_parts_only():
    """A reader lists and opens parts between any two operations of a writer."""
    with folder_in_memory() as root:
        machine, looks = Machine(root), 0
        for batch_rows in (1, 2, 3):
            attempt = Attempt(machine, batch_rows, FailingDisk())
            while attempt.step():
                version = machine.output()
                table = version.read(rejects=True)
                assert set(table.column("image_id").to_pylist()) == version.committed_keys() <= set(SOURCE)
                looks += 1
        assert looks > 8


def test_an_empty_manifest_is_damage_and_not_an_unfinished_version(tmp_path):
    version = Store(str(tmp_path)).version("images", "v")
    version.files.write("images/v/manifest.json", b"")
    with pytest.raises(DataError, match="delete this file"):
        version.manifest()
