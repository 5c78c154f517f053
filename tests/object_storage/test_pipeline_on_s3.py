"""Every stage on an S3 server whose connections break, with the command killed in the middle."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pandas
import pytest

from tests.conftest import ONE_ACTOR, ROOT, SMALL
from tests.finished_run import TABLES, frame, metrics
from tests.object_storage.conftest import BUCKET, CREDENTIALS
from tests.object_storage.proxy import SLOW_DOWN, Fault, FaultProxy, Request
from vapray.pipeline.stages import select_stages
from vapray.sampling.sampler import Sampler
from vapray.store.files import FileStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

RUN = f"s3://{BUCKET}/pipeline"
EVERY = 9


class EveryNinth:
    """A plan: every ninth request goes wrong, in turn in each way; notes when captions are being committed."""

    def __init__(self) -> None:
        self._faults = itertools.cycle([Fault("drop"), Fault("swallow"), Fault("cut", 600), SLOW_DOWN])
        self.parts_of_captions = 0

    def __call__(self, request: Request) -> Fault | None:
        self.parts_of_captions += request.method == "PUT" and "/captions/" in request.path and "/parts/" in request.path
        return next(self._faults) if request.number % EVERY == 0 else None


@contextmanager
def running(proxy: FaultProxy) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "jobs.pipeline", f"run.root={RUN}", *SMALL, *ONE_ACTOR]
    environment = os.environ | CREDENTIALS | {"AWS_ENDPOINT_URL": proxy.url}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def walk(server_port, small_run):
    """The pipeline, killed while it captions, then run again by the same command."""
    plan = EveryNinth()
    with FaultProxy(server_port, plan) as proxy:
        with running(proxy) as killed:
            while plan.parts_of_captions < 2:
                assert killed.poll() is None, killed.communicate()
                time.sleep(0.1)
        with running(proxy) as resumed:
            told, _ = resumed.communicate()
        yield SimpleNamespace(killed=killed, resumed=resumed, told=told, proxy=proxy)


def test_the_same_command_goes_on_where_the_killed_one_was(walk):
    assert walk.killed.returncode == -signal.SIGKILL
    assert walk.resumed.returncode == 0, walk.told
    assert "[ingest] unchanged (90 rows" in walk.told
    assert "rows already done" in walk.told
    assert f" {RUN}/report/index.html" in walk.told


def test_every_kind_of_fault_happened_often(walk):
    kinds = Counter(fault.kind for _, fault in walk.proxy.faults)
    assert set(kinds) == {"drop", "swallow", "cut", "error"}
    assert min(kinds.values()) > 5
    assert len(walk.proxy.faults) >= len(walk.proxy.requests) // EVERY - 1


@pytest.mark.parametrize("table", TABLES)
def test_the_tables_are_those_of_a_run_on_disk(walk, proxy, small_run, table):
    pandas.testing.assert_frame_equal(frame(FileStore(RUN), table), frame(FileStore(str(small_run)), table))


def test_the_metrics_are_those_of_a_run_on_disk(walk, proxy, small_run):
    found, local = metrics(FileStore(RUN)), metrics(FileStore(str(small_run)))
    assert found == local
    assert {"fid", "recall", "caption_adherence"} <= found.keys()


def test_a_checkpoint_on_the_store_draws_what_the_one_on_disk_draws(walk, proxy, small_checkpoint):
    (version,) = FileStore(RUN).names("checkpoints")
    label = json.loads((small_checkpoint / "checkpoint.json").read_text())["class_names"][0]
    far, near = Sampler.load(f"{RUN}/checkpoints/{version}/files/final"), Sampler.load(str(small_checkpoint))
    drawn = [sampler.generate(label=label, seed=3)[0].pixels for sampler in (far, near)]
    assert np.array_equal(*drawn)


def test_finished_the_same_command_writes_nothing(walk):
    before = len(walk.proxy.requests)
    with running(walk.proxy) as again:
        told, _ = again.communicate()
    assert again.returncode == 0, told
    assert "[ray]" not in told
    assert told.count("] unchanged (") == len(select_stages(None))
    assert {request.method for request in walk.proxy.requests[before:]} == {"GET"}
