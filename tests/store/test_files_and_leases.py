"""Whole files, and one writer at a time."""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from vapray.errors import ConfigError, DataError, LeaseHeldError
from vapray.store.files import FileStore
from vapray.store.lease import Lease


@pytest.fixture(params=["local", "memory"])
def files(request, tmp_path):
    root = str(tmp_path) if request.param == "local" else f"memory://{tmp_path.name}"
    return FileStore(root)


def test_what_was_written_is_read(files):
    files.write("a/b.bin", b"\x00\x01")
    assert files.read("a/b.bin") == b"\x00\x01"
    assert files.names("a") == ["b.bin"]


def test_many_are_written_and_their_folders_synced_once(files, monkeypatch):
    real, synced = os.fsync, []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: (synced.append(os.readlink(f"/proc/self/fd/{descriptor}")), real(descriptor))
    )
    files.write("a/0", b"")
    files.write("b/0", b"")
    synced.clear()
    files.write_all({f"{folder}/{number}": bytes([number]) for number in range(5) for folder in "ab"})
    assert [files.read(f"{folder}/{number}") for folder in "ab" for number in range(5)] == [
        *map(bytes, zip(range(5)))
    ] * 2
    if files.is_local:
        assert synced[-2:] == [files.path("a"), files.path("b")]
        assert len(synced) == 10 + 2


def test_what_is_not_there_is_none_and_no_names(files):
    assert files.read("gone") is None
    assert files.names("gone") == []
    files.remove("gone")


def test_a_file_is_created_once(files):
    assert files.create_exclusive("x", b"first")
    assert not files.create_exclusive("x", b"second")
    assert files.read("x") == b"first"


def test_of_many_creators_one_wins(tmp_path):
    files = FileStore(str(tmp_path))
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda number: files.create_exclusive("x", str(number).encode()), range(64)))
    assert sum(won) == 1
    assert files.read("x") == str(won.index(True)).encode()
    assert files.names("") == ["x"]


def test_a_failed_write_leaves_the_old_file_and_says_what_it_needed(tmp_path, monkeypatch):
    files = FileStore(str(tmp_path))
    files.write("x", b"old")
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(full))
    with pytest.raises(DataError, match=r"x: 1,000 bytes could not be written \(no space left\)"):
        files.write("x", bytes(1000))
    assert files.read("x") == b"old"
    assert os.listdir(tmp_path) == ["x"]


def test_a_second_run_is_refused_while_the_first_lives(tmp_path):
    files = FileStore(str(tmp_path))
    with (
        Lease(files, "v"),
        pytest.raises(LeaseHeldError, match=rf"process {os.getpid()} on {socket.gethostname()}"),
    ):
        Lease(files, "v").__enter__()


def test_a_released_lease_can_be_taken_again(tmp_path):
    files = FileStore(str(tmp_path))
    for _ in range(3):
        with Lease(files, "v") as lease:
            assert lease.is_held()
    assert files.names("v") == ["lease-000001.json", "lease-000002.json", "lease-000003.json"]


def hold_for_ever(root: str) -> None:
    with Lease(FileStore(root), "v"):
        time.sleep(600)


def test_the_lease_of_a_killed_process_is_taken_over_at_once(tmp_path):
    files = FileStore(str(tmp_path))
    holder = multiprocessing.get_context("spawn").Process(target=hold_for_ever, args=(str(tmp_path),))
    holder.start()
    while not files.names("v"):
        time.sleep(0.02)
    with pytest.raises(LeaseHeldError):
        Lease(files, "v").__enter__()
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert holder.exitcode == -signal.SIGKILL
    with Lease(files, "v") as lease:
        assert lease.is_held()


def test_an_expired_lease_of_another_machine_is_taken_over(tmp_path):
    files = FileStore(str(tmp_path))
    card = {"owner": "far", "host": "far", "machine": "far", "pid": 1, "started": 0.0, "expires": time.time() + 0.3}
    files.write("v/lease-000001.json", json.dumps(card).encode())
    with pytest.raises(LeaseHeldError, match="process 1 on far"):
        Lease(files, "v").__enter__()
    time.sleep(0.35)
    with Lease(files, "v"):
        pass


def test_a_heartbeat_outlives_the_lifetime(tmp_path):
    files = FileStore(str(tmp_path))
    with Lease(files, "v", lifetime_seconds=0.4):
        first = json.loads(files.read("v/lease-000001.json"))["expires"]
        deadline = time.time() + 20
        while json.loads(files.read("v/lease-000001.json"))["expires"] <= first + 0.4:
            assert time.time() < deadline


def test_of_many_processes_one_holds(tmp_path):
    program = (
        "import sys, time\nfrom vapray.store.files import FileStore\nfrom vapray.store.lease import Lease\n"
        "from vapray.errors import LeaseHeldError\n"
        f"try:\n  with Lease(FileStore({str(tmp_path)!r}), 'v'):\n    print('held', flush=True); sys.stdin.read()\n"
        "except LeaseHeldError:\n  print('refused', flush=True)\n"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    answers = sorted(run.stdout.readline().strip() for run in runs)
    for run in runs:
        run.communicate()
    assert answers == ["held", "refused", "refused", "refused"]


def test_a_root_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(ConfigError, match="is a file, not a folder"):
        FileStore(str(tmp_path / "x"))


def test_a_protocol_that_nobody_knows_is_refused():
    with pytest.raises(ConfigError, match="Protocol not known: foo"):
        FileStore("foo://bucket/run")
