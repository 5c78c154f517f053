"""A disk that fails at any one operation, or is full: the last commit stays, the error says what was needed."""

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.failing_disk import FailingDisk, When, folder_in_memory
from tests.store.test_version import rows, seal
from vapray.errors import DataError
from vapray.store.checkpoint import load_latest_training_state, read_checkpoint, save_training_state, write_checkpoint
from vapray.store.files import FileStore
from vapray.store.lease import Lease
from vapray.store.run_store import Store

FAULTS: list[tuple[int, When]] = [
    (errno.ENOSPC, "half"),
    (errno.ENOSPC, "before"),
    (errno.EIO, "before"),
    (errno.EIO, "after"),
    (errno.EROFS, "before"),
]
WEIGHTS = {"ema.safetensors": b"average" * 50, "autoencoder/config.json": b"{}"}


def write_new(files: FileStore) -> None:
    files.write("a/b/new.bin", bytes(3000))


def write_over(files: FileStore) -> None:
    files.write("old.bin", bytes(3000))


def create(files: FileStore) -> None:
    assert files.create_exclusive("a/created.bin", bytes(3000))


def write_part(files: FileStore) -> None:
    Store(files.root).version("images", "new").write_part(rows("x", "y"))


def seal_version(files: FileStore) -> None:
    seal(Store(files.root).version("images", "open"))


def write_final(files: FileStore) -> None:
    write_checkpoint(files, "checkpoints/final", WEIGHTS)


def write_over_half_a_checkpoint(files: FileStore) -> None:
    write_checkpoint(files, "checkpoints/half", WEIGHTS)


def write_next_step(files: FileStore) -> None:
    save_training_state(files, "checkpoints/steps", 30, WEIGHTS, keep=1)


def take_lease(files: FileStore) -> None:
    lease = Lease(files, "free")
    lease.__enter__()
    lease._stop.set()


OPERATIONS = [
    write_new,
    write_over,
    create,
    write_part,
    seal_version,
    write_final,
    write_over_half_a_checkpoint,
    write_next_step,
    take_lease,
]


def prepare(root: Path) -> None:
    with FailingDisk().installed():
        fill_run(root)


def fill_run(root: Path) -> None:
    files = FileStore(str(root))
    files.write("old.bin", b"old" * 100)
    store = Store(str(root))
    sealed = store.version("images", "sealed")
    sealed.write_part(rows("a", "b"))
    seal(sealed)
    store.version("images", "open").write_part(rows("c"))
    files.write("checkpoints/half/ema.safetensors", b"aver")
    for step in (10, 20):
        save_training_state(files, "checkpoints/steps", step, {"weights": b"%d" % step}, keep=2)


def committed_is_whole(files: FileStore) -> None:
    """Everything under a final name can be read, and is either what stood there or what was to be written."""
    store = Store(files.root)
    assert files.read("old.bin") in (b"old" * 100, bytes(3000))
    assert files.read("a/b/new.bin") in (None, bytes(3000))
    assert files.read("a/created.bin") in (None, bytes(3000))
    assert store.version("images", "sealed").read(["image_id"]).column(0).to_pylist() == ["a", "b"]
    assert store.version("images", "open").committed_keys() == {"c"}
    assert store.version("images", "new").committed_keys() in (set(), {"x", "y"})
    newest = load_latest_training_state(files, "checkpoints/steps", lambda _: None)
    assert newest in ({"weights": b"20"}, WEIGHTS)
    for name in ("half", "final"):
        if files.read(f"checkpoints/{name}/manifest.json"):
            assert read_checkpoint(files, f"checkpoints/{name}") == WEIGHTS


def temporaries(root: Path) -> list[str]:
    return [str(path) for path in root.rglob(".*")]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_any_failing_operation_leaves_the_last_commit_whole(
    operation: Callable[[FileStore], None],
) -> None:
    with folder_in_memory() as root:
        injected = sum(fail_at_each(root / f"{number}-{when}", operation, number, when) for number, when in FAULTS)
    print(f"{operation.__name__}: {injected} faults injected")


def fail_at_each(root: Path, operation: Callable[[FileStore], None], number: int, when: When) -> int:
    """Fail at the first disk operation, at the second, and so on to the end; how many that were."""
    prepared = root / "prepared"
    prepare(prepared)
    at = 0
    while True:
        at += 1
        shutil.copytree(prepared, root / str(at))
        files = FileStore(str(root / str(at)))
        with FailingDisk(at, when, number).installed() as disk:
            told = told_failure(operation, files)
        if not disk.struck:
            assert at > 4
            assert told is None
            return at - 1
        assert len(disk.operations) >= at
        if told is None:  # only a clean-up may pass, and what took effect although it was told as a failure
            assert disk.struck == "unlink" or (disk.struck in ("link", "mkdir", "remove") and when == "after")
        committed_is_whole(files)
        if disk.struck != "unlink":
            assert temporaries(Path(files.root)) == []
        if told is not None:
            repeat(operation, files)
        shutil.rmtree(files.root)


def told_failure(operation: Callable[[FileStore], None], files: FileStore) -> str | None:
    try:
        operation(files)
    except DataError as error:
        told = str(error)
    else:
        return None
    assert files.root in told
    assert "bytes could not be written" in told or "cannot be removed" in told
    assert "same command again" in told
    return told


def repeat(operation: Callable[[FileStore], None], files: FileStore) -> None:
    with FailingDisk().installed():
        operation(files)
    committed_is_whole(files)
    assert temporaries(Path(files.root)) == []


def test_a_folder_whose_filesystem_cannot_sync_folders_is_written_all_the_same(tmp_path, monkeypatch):
    real, refused = os.fsync, []

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            refused.append(descriptor)
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    files = FileStore(str(tmp_path))
    files.write("x", b"1")
    assert files.create_exclusive("y", b"2")
    assert len(refused) == 2


def test_a_rename_is_synced_with_its_folder(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(os, "fsync", lambda fd: order.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name))
    FileStore(str(tmp_path)).write("deep/x", b"1")
    assert order[0] == tmp_path.name  # took the new folder in
    assert order[1].startswith(".x.")
    assert order[2:] == ["deep"]


def test_a_failing_release_does_not_fail_the_stage_that_it_ends(tmp_path):
    files = FileStore(str(tmp_path))
    with FailingDisk().installed() as disk:
        lease = Lease(files, "v").__enter__()
        disk.at = len(disk.operations) + 1
        lease.__exit__(None, None, None)
    assert disk.struck == "open"
    assert lease.is_held()  # by its card; it runs out


@pytest.fixture
def full_disk(tmp_path):
    """1 MiB of memory as a disk."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "vapray-test", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill(disk: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        (disk / "ballast").write_bytes(bytes(2**21))


def test_parts_on_a_full_disk(full_disk):
    version = Store(str(full_disk / "run")).version("images", "v")
    version.write_part(rows("a"))
    fill(full_disk)
    with pytest.raises(DataError, match=r"parts/\w+\.parquet: [\d,]+ bytes could not be written \(no space left\)"):
        version.write_part(rows("b"))
    assert version.committed_keys() == {"a"}
    assert temporaries(full_disk) == []
    (full_disk / "ballast").unlink()
    version.write_part(rows("b"))
    assert seal(version).rows == 2


def test_checkpoints_on_a_full_disk(full_disk):
    files = FileStore(str(full_disk))
    big = {"weights": os.urandom(400_000), "state.json": b"{}"}
    save_training_state(files, "steps", 1, big, keep=1)
    fill(full_disk)
    os.truncate(full_disk / "ballast", (full_disk / "ballast").stat().st_size - 100_000)
    with pytest.raises(DataError, match=r"step-00000002/weights: 400,000 bytes could not be written \(no space left\)"):
        save_training_state(files, "steps", 2, big, keep=1)
    assert load_latest_training_state(files, "steps", lambda _: None) == big
    (full_disk / "ballast").unlink()
    save_training_state(files, "steps", 2, big, keep=1)
    assert files.names("steps") == ["step-00000002"]
