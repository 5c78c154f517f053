"""Ray clusters of several nodes on one machine: real raylets, which differ in resources, environment or mounts.

As a process (``python -m tests.cluster.raylets NODES``) it prints the address, then the pids of the raylets,
and ends with stdin. NODES is a JSON list, the head first: arguments of ``Cluster.add_node``; ``hides`` makes a
node in whose mount namespace the folder that it names is another, empty one.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil

from tests.conftest import ROOT

__all__ = ["OPEN", "Raylets", "raylets"]

MEMORY = 80 * 2**20
OPEN = {"RAY_AUTH_MODE": "disabled"}
"""The environment of drivers of these clusters."""


@dataclass(frozen=True)
class Raylets:
    """A running cluster.

    Attributes:
        address: of its head.
        pids: of the raylet of each node, in the order in which they were asked for.
    """

    address: str
    pids: list[int]


@contextmanager
def raylets(*nodes: dict[str, Any]) -> Iterator[Raylets]:
    """A cluster for the time of a ``with`` block."""
    command = [sys.executable, "-m", "tests.cluster.raylets", json.dumps(nodes)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    try:
        yield Raylets(process.stdout.readline().strip(), json.loads(process.stdout.readline()))
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        for member in family:  # a frozen one would not end
            with contextlib.suppress(psutil.NoSuchProcess):
                member.send_signal(signal.SIGCONT)
        process.stdin.close()
        process.wait(60)
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()


def main() -> None:
    """Start the nodes and wait."""
    folder = tempfile.mkdtemp(prefix="raylets-", dir="/tmp")  # not where a Ray of this machine looks for its cluster
    from vapray.runtime.cluster import ENVIRONMENT

    quick = {"RAY_prestart_worker_first_driver": "0", "RAY_enable_worker_prestart": "0"}
    os.environ.update(ENVIRONMENT | quick | OPEN, RAY_TMPDIR=folder)
    from ray.cluster_utils import Cluster

    head, *others = json.loads(sys.argv[1])
    cluster = Cluster(initialize_head=True, head_node_args=_settings(head) | {"include_dashboard": False})
    hiders = [_hide(cluster.address, node) for node in others if "hides" in node]
    for node in others:
        if "hides" not in node:
            cluster.add_node(**_settings(node))
    while len(cluster.global_state._live_node_ids()) < 1 + len(others):  # the hiders are none of its own
        time.sleep(0.2)
    print(cluster.address, flush=True)
    print(json.dumps(_raylet_pids()), flush=True)
    sys.stdin.read()
    for hider in hiders:
        hider.terminate()
        hider.wait(30)
    cluster.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def _settings(node: dict[str, Any]) -> dict[str, Any]:
    return {"num_cpus": 1, "object_store_memory": MEMORY, **node}


def _hide(address: str, node: dict[str, Any]) -> subprocess.Popen[bytes]:
    start = f"{sys.executable} -m ray.scripts.scripts start --address={address} --block --num-cpus=1"
    script = f"mount -t tmpfs tmpfs {node['hides']} && exec {start} --object-store-memory={MEMORY} >/dev/null 2>&1"
    return subprocess.Popen(["unshare", "--mount", "sh", "-c", script])


def _raylet_pids() -> list[int]:
    """Oldest first."""
    family = psutil.Process().children(recursive=True)
    return [p.pid for p in sorted(family, key=lambda p: p.create_time()) if p.name() == "raylet"]


if __name__ == "__main__":
    main()
