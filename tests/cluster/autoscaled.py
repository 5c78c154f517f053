"""A cluster whose nodes come when work waits: Ray's own autoscaler (version 2), which starts real raylets here."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID, FAKE_HEAD_NODE_TYPE
from ray.util import get_node_ip_address

from tests.cluster.raylets import MEMORY, OPEN
from vapray.runtime.cluster import ENVIRONMENT

__all__ = ["autoscaled"]

PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
# The one that Ray's tests name by its short name needs a file that Ray's wheel does not hold.
SECONDS_TO_START = 150


@contextmanager
def autoscaled(**node_types: dict[str, Any]) -> Iterator[str]:
    """A head of one CPU, and for the time of a ``with`` block its address.

    Args:
        node_types: name -> ``resources`` of a node and how many there may be (``max_workers``); none is up at first.
    """
    folder, (port, other_port) = Path(tempfile.mkdtemp(prefix="scaled-", dir="/tmp")), _free_ports()
    address = f"{get_node_ip_address()}:{port}"
    file = folder / "autoscaling.json"
    file.write_text(json.dumps(_config(address, node_types)))
    started = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--include-dashboard=false"]
    settings = [
        f"--port={port}",
        f"--ray-client-server-port={other_port}",
        "--min-worker-port=0",
        "--max-worker-port=0",
    ]
    size = [
        "--node-ip-address=127.0.0.1",
        "--num-cpus=1",
        f"--object-store-memory={MEMORY}",
        f"--autoscaling-config={file}",
    ]
    extra = {
        "RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID, "RAY_TMPDIR": str(folder),
    }  # fmt: skip
    with (folder / "said").open("w") as said:
        head = subprocess.Popen(
            [*started, *settings, *size], env={**os.environ, **ENVIRONMENT, **OPEN, **extra}, stdout=said, stderr=said
        )
    try:
        _wait_for(head, folder / "said")
        yield address
    finally:
        family = psutil.Process(head.pid).children(recursive=True)
        head.terminate()
        head.wait(60)
        for member in family:  # the provider leaves its raylets behind
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _config(address: str, node_types: dict[str, dict[str, Any]]) -> dict[str, Any]:
    head = {"resources": {"CPU": 1}, "node_config": {}, "max_workers": 0}
    types = {name: {"node_config": {}, "min_workers": 0, **kind} for name, kind in node_types.items()}
    provider = {"type": "external", "module": PROVIDER, "disable_node_updaters": True, "launch_multiple": True}
    commands = ("setup", "head_setup", "worker_setup", "initialization", "head_start_ray", "worker_start_ray")
    return {
        **{f"{name}_commands": [] for name in commands},
        "auth": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        "rsync_exclude": [],
        "rsync_filter": [],
        "file_mounts_sync_continuously": False,
        "cluster_name": "scaled",
        "max_workers": 8,
        "upscaling_speed": 20.0,
        "provider": {**provider, "gcs_address": address, "head_node_id": FAKE_HEAD_NODE_ID},
        "head_node_type": FAKE_HEAD_NODE_TYPE,
        "available_node_types": {FAKE_HEAD_NODE_TYPE: head, **types},
    }


def _free_ports() -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _wait_for(head: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while "Ray runtime started" not in (said := log.read_text()):
        assert head.poll() is None and time.monotonic() < deadline, said
        time.sleep(0.1)
