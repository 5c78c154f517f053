"""Whatever is killed, and whoever overlaps: the identical command ends with the table of an unbroken run."""

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.faults.failing_disk import FailingDisk, When, folder_in_memory
from tests.faults.stage_attempts import REJECTED, SEEN, SOURCE, Attempt, Machine, Mark, assert_each_key_once, finish
from tests.store.test_version import seal
from vapray.errors import DataError
from vapray.store.run_store import Store


@pytest.fixture(scope="module", autouse=True)
def told():
    yield
    print("\n" + ", ".join(f"{number:,} {what}" for what, number in sorted(SEEN.items())))


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
