"""Torn and flipped parts, manifests and checkpoints: never taken for whole, and said with what to do next."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.failing_disk import FailingDisk, folder_in_memory
from tests.store.test_version import rows, seal
from vapray.errors import CheckpointError, DataError, LeaseHeldError
from vapray.store.checkpoint import load_latest_training_state, read_checkpoint, save_training_state, write_checkpoint
from vapray.store.files import FileStore
from vapray.store.run_store import Store
from vapray.store.version import Version

FLIPS = 400
STATE = {"raw.safetensors": bytes(range(256)), "state.json": b'{"step": 20}'}


def flipped(data: bytes, seed: int) -> bytes:
    place = random.Random(seed).randrange(8 * len(data))
    torn = bytearray(data)
    torn[place // 8] ^= 1 << place % 8
    return bytes(torn)


def damages(data: bytes, every: int) -> list[bytes]:
    """Truncated at every k-th byte, and many copies with one bit flipped."""
    return [data[:end] for end in range(0, len(data), every)] + [flipped(data, seed) for seed in range(FLIPS)]


@pytest.fixture
def version(tmp_path) -> Version:
    with FailingDisk().installed():
        version = Store(str(tmp_path)).version("images", "v")
        version.write_part(rows(*(f"image-{number}" for number in range(20))))
        version.write_part(rows("bad", reject="broken"))
    return version


def part_path(version: Version, number: int = 0) -> Path:
    return Path(version.uri) / "parts" / version.part_names()[number]


def reopened(version: Version) -> Version:
    return Version(version.files, version.table, version.fingerprint)


@pytest.mark.parametrize("columns", [None, ["image_id"]])
def test_a_sealed_part_with_any_damage_is_refused(version, columns):
    seal(version)
    path = part_path(version)
    data = path.read_bytes()
    for damage in damages(data, every=37):
        path.write_bytes(damage)
        with pytest.raises(DataError, match=rf"{path}: .*sha256 is \w+\.\.\. in the manifest, \w+\.\.\. in the file"):
            reopened(version).read_part(path.name, columns)
    path.write_bytes(data)
    assert reopened(version).read_part(path.name, columns).num_rows


def test_a_flip_in_the_pages_is_seen_in_a_part_that_was_hashed_before(version):
    seal(version)
    path = part_path(version)
    data, before = path.read_bytes(), version.read_part(path.name)
    pages_end = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    refused = 0
    for seed in range(FLIPS):
        path.write_bytes(flipped(data[:pages_end], seed) + data[pages_end:])
        found = refusal(lambda: version.read_part(path.name))
        if isinstance(found, str):
            assert str(path) in found
            refused += 1
        else:  # a bit of a header that decides nothing
            assert found.equals(before)
    assert refused > FLIPS / 2


def refusal(read: Callable[[], Any]) -> Any:
    """The message of a DataError, or what was read."""
    try:
        return read()
    except DataError as error:
        return str(error)


def test_a_damaged_part_is_removed_and_its_rows_are_asked_for_again(version):
    path = part_path(version)
    data, table, kinds = path.read_bytes(), version.read(rejects=True), Counter()
    for damage in damages(data, every=37):
        said: list[str] = []
        path.write_bytes(damage)
        version.files.remove(f"{version.folder}/receipts")
        version.adopt_parts(said.append)
        assert path.exists() == (not said)
        if said:
            assert str(path) in said[0]
            assert len(said) == 1
        else:  # a bit of the footer that decides nothing
            assert reopened(version).read(rejects=True).equals(table)
        kinds["removed" if said else "harmless"] += 1
        path.write_bytes(data)
    print(f"unsealed part: {dict(kinds)}")
    assert kinds["removed"] > FLIPS / 2


def test_sealing_refuses_a_part_that_was_damaged_since_it_was_written(version):
    path = part_path(version)
    data = path.read_bytes()
    path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    with pytest.raises(DataError, match=rf"{path}: missing or damaged"):
        seal(version)
    version.adopt_parts(lambda _: None)
    assert not path.exists()


def test_a_damaged_part_is_replaced_by_whoever_makes_its_rows_again(version):
    path = part_path(version)
    made = rows("bad", reject="broken") if len(version.read_part(path.name)) == 1 else None
    made = made or rows(*(f"image-{number}" for number in range(20)))
    path.write_bytes(b"PAR1 torn")
    version.write_part(made)
    assert len(version.committed_keys()) == 21


def test_what_a_killed_writer_left_half_written_is_swept(version):
    left = part_path(version).with_name(".part.parquet." + 32 * "a")
    left.write_bytes(b"half")
    kept = left.with_name(".keep")
    kept.write_bytes(b"not ours")
    version.adopt_parts(lambda _: None)
    assert not left.exists()
    assert kept.exists()


def test_a_lost_part_of_a_sealed_version_can_be_made_again(version):
    before = seal(version)
    path = part_path(version)
    path.unlink()
    with pytest.raises(DataError, match=rf"{path}: .*or delete it and .*manifest.json and run the same command again"):
        reopened(version).read()
    (Path(version.uri) / "manifest.json").unlink()
    again = reopened(version)
    missing = (
        rows("bad", reject="broken") if len(again.committed_keys()) > 1 else rows(*(f"image-{n}" for n in range(20)))
    )
    again.write_part(missing)
    assert seal(again).content_hash == before.content_hash


def test_a_manifest_with_any_damage_is_refused(version):
    seal(version)
    path = Path(version.uri) / "manifest.json"
    data = path.read_bytes()
    refused = 0
    for damage in damages(data, every=29):
        path.write_bytes(damage)
        found = refusal(lambda: reopened(version).manifest())
        refused += isinstance(found, str)
        assert found == version.manifest() or f"{path}: damaged manifest" in found
    assert refused > 0.9 * len(damages(data, every=29))  # the rest are blanks between values


def test_a_damaged_manifest_of_another_version_stops_nobody(version):
    finished = seal(version)
    version.files.write("images/other/manifest.json", b"{")
    assert Store(version.files.root).latest("images") == finished


@pytest.fixture
def steps():
    with folder_in_memory() as root, FailingDisk().installed():
        files = FileStore(str(root))
        for step in (10, 20):
            save_training_state(files, "steps", step, STATE | {"state.json": b'{"step": %d}' % step}, keep=2)
        yield files


@pytest.mark.parametrize("name", ["manifest.json", "raw.safetensors", "state.json"])
def test_a_checkpoint_with_any_damage_is_passed_over_and_said(steps, name):
    path = f"steps/step-00000020/{name}"
    data = steps.read(path)
    previous = STATE | {"state.json": b'{"step": 10}'}
    passed_over = 0
    for damage in [*damages(data, every=3), None]:
        steps.write(path, damage) if damage is not None else steps.remove(path)
        said: list[str] = []
        found = load_latest_training_state(steps, "steps", said.append)
        assert (found, len(said)) in ((STATE, 0), (previous, 1))
        assert name == "manifest.json" or said
        if said:
            assert "step-00000020" in said[0]
            passed_over += 1
    assert passed_over > FLIPS / 2


def test_strict_fails_instead_of_falling_back(steps):
    steps.write("steps/step-00000020/raw.safetensors", flipped(STATE["raw.safetensors"], 1))
    with pytest.raises(CheckpointError, match=r"step-00000020/raw.safetensors: expected sha256 \w+"):
        load_latest_training_state(steps, "steps", pytest.fail, strict=True)


def test_it_fails_when_no_whole_checkpoint_is_left(steps):
    for step in (10, 20):
        steps.write(f"steps/step-{step:08d}/raw.safetensors", b"")
    said: list[str] = []
    with pytest.raises(CheckpointError, match="no complete checkpoint is left, 2 damaged"):
        load_latest_training_state(steps, "steps", said.append)
    assert len(said) == 2


@pytest.mark.parametrize("strict", [False, True])
def test_a_checkpoint_that_was_never_finished_is_passed_over_and_cleaned_at_the_next_write(steps, strict):
    steps.write("steps/step-00000030/raw.safetensors", b"half")
    said: list[str] = []
    assert load_latest_training_state(steps, "steps", said.append, strict=strict) == STATE
    assert "incomplete" in said[0]
    save_training_state(steps, "steps", 25, STATE, keep=2)
    assert steps.names("steps") == ["step-00000020", "step-00000025"]


def test_only_orphans_are_no_checkpoint_and_no_failure(tmp_path):
    files = FileStore(str(tmp_path))
    files.write("steps/step-00000010/raw.safetensors", b"half")
    assert load_latest_training_state(files, "steps", lambda _: None, strict=True) is None


def test_a_stalled_run_neither_removes_nor_overwrites_later_checkpoints(steps):
    with pytest.raises(LeaseHeldError, match=r"step-00000020 exists and this run is only at step 15"):
        save_training_state(steps, "steps", 15, STATE, keep=1)
    save_training_state(steps, "steps", 20, STATE | {"raw.safetensors": b"other"}, keep=2)
    assert load_latest_training_state(steps, "steps", pytest.fail) == STATE


def test_a_whole_checkpoint_is_kept_and_a_damaged_one_replaced(steps):
    other = STATE | {"raw.safetensors": b"other"}
    first = write_checkpoint(steps, "final", STATE)
    assert write_checkpoint(steps, "final", other) == first
    steps.write("final/state.json", b"damaged")
    assert write_checkpoint(steps, "final", other) != first
    assert read_checkpoint(steps, "final") == other


def test_files_of_an_earlier_half_do_not_stay_in_a_checkpoint(steps):
    steps.write("final/old.safetensors", b"old")
    write_checkpoint(steps, "final", STATE)
    assert steps.names("final") == ["manifest.json", *sorted(STATE)]
