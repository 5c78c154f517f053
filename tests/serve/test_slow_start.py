"""A service whose HTTP proxy takes long to start, as on a busy machine."""

import subprocess
import sys
import time

import psutil
import pytest

from tests.conftest import ROOT
from tests.faults.ray_processes import gone_within
from tests.serve.running import free_port

HELD_SECONDS = 25
"""Longer than the three checks of five seconds each after which Serve kills a proxy by default."""
START = """
import sys
from vapray.config import Cluster
from vapray.runtime.cluster import ray_session
with ray_session(Cluster()):
    from ray import serve
    serve.start(http_options={"port": int(sys.argv[1])})
    print("started")
"""


@pytest.mark.slow
def test_a_proxy_that_starts_slowly_is_waited_for():
    command = [sys.executable, "-c", START, str(free_port())]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        try:
            proxy = _first_proxy(psutil.Process(started.pid))
            proxy.suspend()
            time.sleep(HELD_SECONDS)
            was_held = proxy.status() == psutil.STATUS_STOPPED
            proxy.resume()
            output, errors = started.communicate(timeout=120)
        finally:
            started.kill()
    assert was_held
    assert "started" in output, errors
    assert not gone_within(30, [proxy])


def _first_proxy(process: psutil.Process) -> psutil.Process:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for child in process.children(recursive=True):
            try:
                if "ProxyActor" in " ".join(child.cmdline()):
                    return child
            except psutil.Error:  # it ended
                continue
    raise AssertionError("no proxy was started")
