"""The Ray cluster that a run would join: does it answer, is it large enough, is it open to strangers?"""

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from vapray.config import Cluster, Config
from vapray.doctor.devices import gpus_asked
from vapray.doctor.findings import Finding, failed, ok, warning

__all__ = ["examine"]

CONNECT_SECONDS, ANSWER_SECONDS = 3, 30
DASHBOARD_PORT = 8265
# In a process of its own: Ray waits long for what does not answer, and cannot be interrupted while it does.
SURVEY = "import json, sys; from vapray.cluster import survey; print(json.dumps(survey(sys.argv[1])))"
START = "Start one with `ray start --head`, or leave cluster.address (and RAY_ADDRESS) empty for an embedded Ray."


def examine(config: Config) -> Iterator[Finding]:
    """Joins the cluster for a moment; without an address there is nothing to join."""
    yield _usage_statistics()
    address = config.cluster.address or os.environ.get("RAY_ADDRESS")
    if not address:
        cpus = config.cluster.num_cpus or max(4, os.cpu_count() or 1)
        yield _fits("ray", f"embedded, {cpus} logical CPUs, no dashboard", config, cpus, None)
        return
    if refusal := _refusal(address):
        yield failed("ray", f"{address}: {refusal}", START, 5)
        return
    answer = _survey(address)
    if isinstance(answer, str):
        yield failed("ray", f"{address}: {answer}", START, 5)
        return
    found = f"{address}: {answer['nodes']} nodes, {answer['cpus']:g} CPUs, {answer['gpus']:g} GPUs"
    yield _fits("ray", found, config, answer["cpus"], answer["gpus"])
    yield _shared(config.run.root, config.cluster, answer["nodes"])
    yield _dashboard(answer["addresses"])


def _usage_statistics() -> Finding:
    if os.environ.get("RAY_USAGE_STATS_ENABLED", "0") == "0":
        return ok("usage statistics", "off: vapray sets RAY_USAGE_STATS_ENABLED=0 where it starts Ray")
    return warning(
        "usage statistics", "RAY_USAGE_STATS_ENABLED is set", "Ray reports its use. Set it to 0 to stop that."
    )


def _fits(check: str, found: str, config: Config, cpus: float, gpus: float | None) -> Finding:
    wanted = {"train.workers": config.train.workers, "pools.autoencoder.num_cpus": config.pools.autoencoder.num_cpus}
    short = [f"{key} asks for {count:g} CPUs" for key, count in wanted.items() if count > cpus]
    if gpus is not None:
        short += [f"{key} asks for {count:g} GPUs" for key, count in gpus_asked(config).items() if count > gpus]
    if short:
        return failed(check, f"{found}; {', '.join(short)}", "Ask for less, or add nodes.", 5)
    return ok(check, found)


def _refusal(address: str) -> str | None:
    """Why nothing can be listening there; None where something is, or where Ray itself finds the address."""
    host, colon, port = address.rsplit("/", 1)[-1].rpartition(":")
    if not colon or not port.isdigit():
        return None if address in ("auto", "local") else "wanted host:port or auto"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        return f"nothing answers within {CONNECT_SECONDS} s ({error})"
    return None


def _survey(address: str) -> dict[str, Any] | str:
    """What the cluster has, or why that cannot be told."""
    command = [sys.executable, "-c", SURVEY, address]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"something listens, but does not answer as Ray does within {ANSWER_SECONDS} s"
    try:
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return answer
    except (ValueError, IndexError):
        return "no Ray cluster answers" + "".join(f" ({line})" for line in done.stderr.strip().splitlines()[-1:])


def _shared(root: str, cluster: Cluster, nodes: int) -> Finding:
    if nodes > 1 and "://" not in root and not cluster.shared_filesystem:
        advice = "Give a URI such as s3://bucket/run, or cluster.shared_filesystem=true if every node mounts it."
        return failed("shared run.root", f"{root} is a local path and there are {nodes} nodes", advice, 2)
    return ok("shared run.root", f"{root}, {nodes} node{'s' if nodes > 1 else ''}")


def _dashboard(addresses: list[str]) -> Finding:
    """Whoever reaches Ray's dashboard without a token may run code on the cluster."""
    outside = [address for address in addresses if not address.startswith("127.")]
    open_ones = [address for address in outside if _answers_strangers(f"http://{address}:{DASHBOARD_PORT}/api/version")]
    if open_ones:
        advice = "Set RAY_AUTH_MODE=token on every node, or start Ray with --dashboard-host=127.0.0.1."
        found = f"port {DASHBOARD_PORT} of {', '.join(open_ones)} answers without a token"
        return failed("ray dashboard", found, advice, 5)
    return ok("ray dashboard", "closed to other machines, or asks for a token")


def _answers_strangers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False
