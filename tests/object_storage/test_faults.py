"""Connections that break, answers that get lost: what the store holds afterwards is as if nothing had happened."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.object_storage.proxy import SLOW_DOWN, Fault, Request
from vapray.errors import BackendError, LeaseHeldError
from vapray.store.files import FileStore
from vapray.store.lease import Lease

DATA = os.urandom(400_000)
FAULTS = [Fault("drop"), Fault("cut", 60), Fault("cut", 200_000), Fault("swallow"), SLOW_DOWN]
KINDS = ["drop", "cut-in-head", "cut-in-body", "swallow", "slow-down"]
each_fault = pytest.mark.parametrize("fault", FAULTS, ids=KINDS)


class First:
    """A plan: the first ``times`` requests that fit go wrong."""

    def __init__(self, fault: Fault, method: str, times: int = 1, path: str = "") -> None:
        self.fault, self.method, self.left, self.path = fault, method, times, path

    def __call__(self, request: Request) -> Fault | None:
        if request.method != self.method or self.path not in request.path or not self.left:
            return None
        self.left -= 1
        return self.fault


@each_fault
def test_a_read_comes_whole(files, proxy, fault):
    files.write("x", DATA)
    proxy.plan = First(fault, "GET")
    assert files.read("x") == DATA
    assert [found.kind for _, found in proxy.faults] == [fault.kind]


@each_fault
def test_a_range_comes_whole(files, proxy, fault):
    data = os.urandom(5_000_000)
    files.write("x", data)
    with files.open("x") as file:
        proxy.plan = First(fault, "GET")
        file.seek(100)
        assert file.read(300_000) == data[100:300_100]
    assert [found.kind for _, found in proxy.faults] == [fault.kind]


@each_fault
def test_a_listing_comes_whole(files, proxy, fault):
    names = [f"{number:03d}" for number in range(30)]
    for name in names:
        files.write(f"a/{name}", b"")
    proxy.plan = First(fault, "GET", path="list-type=2")
    assert files.names("a") == names
    assert [found.kind for _, found in proxy.faults] == [fault.kind]


@each_fault
def test_a_write_is_there_once_it_returns(files, proxy, fault):
    files.write("x", b"old")
    proxy.plan = First(fault, "PUT")
    files.write("x", DATA)
    assert files.read("x") == DATA
    assert [found.kind for _, found in proxy.faults] == [fault.kind]


@each_fault
def test_a_removal_is_done_once_it_returns(files, proxy, fault):
    files.write("a/x", DATA)
    files.write("a/y", DATA)
    proxy.plan = First(fault, "POST", path="?delete")
    files.remove("a")
    assert files.names("a") == []
    assert [found.kind for _, found in proxy.faults] == [fault.kind]


@each_fault
def test_a_creation_whose_answer_is_lost_is_won(files, proxy, fault):
    proxy.plan = First(fault, "PUT")
    assert files.create_exclusive("x", b"mine")
    assert not files.create_exclusive("x", b"mine")
    assert [found.kind for _, found in proxy.faults] == [fault.kind]


def test_a_lost_answer_does_not_make_a_second_winner_of_the_same_bytes(files, proxy):
    """The loser's first attempt is lost too: what it finds has its bytes, but is not of its making."""
    assert files.create_exclusive("x", b"same")
    proxy.plan = First(Fault("swallow"), "PUT")
    assert not files.create_exclusive("x", b"same")
    assert len(proxy.faults) == 1


def test_of_eight_creators_one_wins_though_every_answer_is_lost_once(files, proxy):
    stores = [FileStore(files.root) for _ in range(8)]
    proxy.plan = First(Fault("swallow"), "PUT", times=8)
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: stores[number].create_exclusive("x", str(number).encode()), range(8)))
    assert len(proxy.faults) == 8
    assert sum(won) == 1
    assert files.read("x") == str(won.index(True)).encode()


def test_a_lease_is_held_by_one_though_the_answer_to_its_creation_is_lost(files, proxy):
    proxy.plan = First(Fault("swallow"), "PUT", path="lease-000001")
    with Lease(files, "v") as lease:
        assert len(proxy.faults) == 1
        assert lease.is_held()
        with pytest.raises(LeaseHeldError):
            Lease(FileStore(files.root), "v").__enter__()
    assert files.names("v") == ["lease-000001.json"]


def test_a_heartbeat_outlives_a_store_that_fails_for_a_while(files, proxy):
    with Lease(files, "v", lifetime_seconds=2.0):
        first = json.loads(files.read("v/lease-000001.json"))["expires"]
        proxy.plan = First(SLOW_DOWN, "PUT", times=4)
        while json.loads(files.read("v/lease-000001.json"))["expires"] <= first:
            pass
    assert len(proxy.faults) == 4


def test_two_cuts_in_a_row_are_survived_and_endless_ones_are_told(files, proxy):
    files.write("x", DATA)
    proxy.plan = First(Fault("cut", 900), "GET", times=2)
    assert files.read("x") == DATA
    proxy.plan = lambda request: Fault("cut", 900)
    with pytest.raises(BackendError, match=r"/x: could not read .*The store does not answer correctly"):
        files.read("x")
    assert 2 < len(proxy.faults) <= 7
