"""One writer at a time: duplicate starts, takeovers, stalled holders, damaged cards, clocks that disagree."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.failing_disk import FailingDisk, folder_in_memory
from tests.store.test_version import rows, seal
from vapray.errors import LeaseHeldError
from vapray.store.files import FileStore
from vapray.store.lease import Lease
from vapray.store.run_store import Store

RACES = 50


def attempt(lease: Lease) -> bool:
    try:
        lease.__enter__()
    except LeaseHeldError:
        return False
    return True


def stop_heart(lease: Lease) -> None:
    """What SIGSTOP does to it: no heartbeat, no release."""
    lease._stop.set()
    if lease._heart.is_alive():
        lease._heart.join()


@pytest.fixture
def files():
    with folder_in_memory() as root:
        yield FileStore(str(root))


@pytest.mark.parametrize("before", ["nobody", "an expired holder"])
def test_of_20_threads_one_holds(files, before):
    now = time.time()
    with ThreadPoolExecutor(20) as pool, FailingDisk().installed():
        for race in range(RACES):
            if before != "nobody":
                stalled = Lease(files, f"v{race}", clock=lambda: now - 61)
                assert attempt(stalled)
                stop_heart(stalled)
            starts = [Lease(files, f"v{race}") for _ in range(20)]
            gate = threading.Barrier(20)
            won = list(pool.map(lambda lease, gate=gate: (gate.wait(), attempt(lease))[1], starts))
            assert sum(won) == 1
            assert [lease.is_held() for lease in starts] == won
            for lease in starts:
                stop_heart(lease)


def race_for_all(root: str, gate: "multiprocessing.synchronize.Barrier", wins: "multiprocessing.Queue[int]") -> None:
    for race in range(RACES):
        lease = Lease(FileStore(root), f"v{race}")
        gate.wait()
        won = attempt(lease)
        gate.wait()  # all have tried before anybody may release
        wins.put(race if won else -1)
        stop_heart(lease)


def test_of_8_processes_one_holds(files):
    context = multiprocessing.get_context("fork")
    gate, wins = context.Barrier(8), context.Queue()
    racers = [context.Process(target=race_for_all, args=(files.root, gate, wins)) for _ in range(8)]
    for racer in racers:
        racer.start()
    answers = [wins.get(timeout=120) for _ in range(8 * RACES)]
    for racer in racers:
        racer.join()
    assert sorted(answer for answer in answers if answer >= 0) == list(range(RACES))
    assert answers.count(-1) == 7 * RACES


HOLDER = """
import sys, time
from tests.store.test_version import rows
from vapray.errors import LeaseHeldError
from vapray.store.lease import Lease
from vapray.store.run_store import Store
version = Store(sys.argv[1]).version("images", "v")
lease = Lease(version.files, version.folder, lifetime_seconds=1.0)
with lease:
    version.write_part(rows("a", "b"))
    print("holding", flush=True)
    sys.stdin.readline()
    print("held" if lease.is_held() else "lost", flush=True)
    version.write_part(rows("a", "late"))
print("gone", flush=True)
"""


def test_a_holder_stopped_past_its_lifetime_finds_its_lease_lost_and_changes_nothing(tmp_path):
    version = Store(str(tmp_path)).version("images", "v")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert holder.stdout and holder.stdin
    assert holder.stdout.readline() == "holding\n"
    holder.send_signal(signal.SIGSTOP)
    while not is_stopped(holder.pid):
        time.sleep(0.01)
    while not attempt(mine := version.lease()):
        time.sleep(0.05)
    stop_heart(mine)  # so that only the other could change the card
    version.write_part(rows("c"))
    manifest = seal(version)
    card = version.files.read(f"{version.folder}/lease-000002.json")
    holder.send_signal(signal.SIGCONT)
    assert holder.communicate("go\n", timeout=60)[0] == "lost\ngone\n"
    assert version.files.read(f"{version.folder}/lease-000002.json") == card
    assert mine.is_held()
    assert Store(str(tmp_path)).version("images", "v").manifest() == manifest
    assert version.read(["image_id"]).column(0).to_pylist() == ["a", "b", "c"]
    assert len(version.files.names(f"{version.folder}/parts")) == 3  # the late part is there and is not listed


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


def card_of(files: FileStore, **changes: object) -> dict:
    """A live card of this process, with changes."""
    lease = Lease(files, "other")
    assert attempt(lease)
    stop_heart(lease)
    card = json.loads(files.read("other/lease-000001.json") or b"")
    files.remove("other")
    return card | changes


@pytest.mark.parametrize(
    ("changes", "is_free"),
    [
        ({}, False),
        ({"started": -2.0}, True),  # the pid belongs to another process by now
        ({"pid": 2**22 + 1}, True),
        ({"pid": 2**22 + 1, "machine": "another", "host": "far"}, False),  # cannot be looked at: wait
        ({"pid": 2**22 + 1, "machine": "another container", "host": os.uname().nodename}, False),
        ({"machine": "another", "expires": 0.0}, True),
    ],
)
def test_who_counts_as_alive(files, changes, is_free):
    files.write("v/lease-000001.json", json.dumps(card_of(files, **changes)).encode())
    lease = Lease(files, "v")
    assert attempt(lease) == is_free
    stop_heart(lease)


@pytest.mark.parametrize(
    "damage",
    [
        lambda card: b"",
        lambda card: card[:40],
        lambda card: b"[]",
        lambda card: b"\xff" + card,
        lambda card: card.replace(b'"pid"', b'"pix"'),
        lambda card: card.replace(b'"expires": ', b'"expires": 9'),
        lambda card: card.replace(b'"expires": ', b'"expires": "soon", "x": '),
    ],
)
def test_a_damaged_card_counts_for_one_lifetime_after_it_was_written(files, damage: Callable[[bytes], bytes]):
    card = json.dumps(card_of(files)).encode()
    assert damage(card) != card
    files.write("v/lease-000001.json", damage(card))
    with pytest.raises(LeaseHeldError, match="a run whose lease file is damaged is writing this version"):
        Lease(files, "v").__enter__()
    later = Lease(files, "v", clock=lambda: time.time() + 61)
    assert attempt(later)
    stop_heart(later)


def test_a_flipped_bit_in_a_card_never_crashes_a_start_and_never_blocks_for_more_than_two_lifetimes(files):
    card, generator = json.dumps(card_of(files)).encode(), random.Random(0)
    for flip in range(500):
        torn = bytearray(card)
        torn[generator.randrange(len(card))] ^= 1 << generator.randrange(8)
        files.write(f"v{flip}/lease-000001.json", bytes(torn))
        with FailingDisk().installed():
            stop_heart(now := Lease(files, f"v{flip}"))
            taken = attempt(now)
            stop_heart(now)
            later = Lease(files, f"v{flip}", clock=lambda: time.time() + 121)
            assert taken or attempt(later)
            stop_heart(later)


@pytest.mark.parametrize("seconds", [60, 100, 800, 1e9])
def test_a_card_that_promises_more_than_a_heartbeat_does_blocks_no_longer(files, seconds):
    card = card_of(files, machine="far", expires=time.time() + 60 + seconds)
    files.write("v/lease-000001.json", json.dumps(card).encode())
    assert not attempt(Lease(files, "v"))
    later = Lease(files, "v", clock=lambda: time.time() + 121)
    assert attempt(later)
    stop_heart(later)


def test_a_damaged_card_heals_with_the_next_heartbeat(files):
    with Lease(files, "v", lifetime_seconds=0.4) as lease:
        files.write("v/lease-000001.json", b"torn")
        deadline = time.time() + 20
        while files.read("v/lease-000001.json") == b"torn":
            assert time.time() < deadline
        assert lease.is_held()


@pytest.mark.parametrize(
    ("seconds_ahead", "is_taken"), [(-3600, False), (-44, False), (0, False), (44, False), (61, True)]
)
def test_clocks_may_differ_by_three_quarters_of_a_lifetime(files, seconds_ahead, is_taken):
    """The holder's last heartbeat is at most a quarter of a lifetime old."""
    files.write("v/lease-000001.json", json.dumps(card_of(files, machine="far", expires=time.time() + 45)).encode())
    contender = Lease(files, "v", clock=lambda: time.time() + seconds_ahead)
    assert attempt(contender) == is_taken
    stop_heart(contender)


def test_a_release_is_seen_by_a_machine_whose_clock_is_behind(files):
    with Lease(files, "v"):
        pass
    behind = Lease(files, "v", clock=lambda: time.time() - 3600)
    assert attempt(behind)
    stop_heart(behind)


def test_leases_are_counted_past_six_digits(files):
    files.write("v/lease-999999.json", json.dumps(card_of(files, expires=0.0)).encode())
    for _ in range(2):
        with Lease(files, "v") as lease:
            assert lease.is_held()
    assert len(files.names("v")) == 3
