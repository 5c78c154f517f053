"""Check of the Ray cluster that a run would join: reachable, large enough, consistent and protected."""

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from vapray.config import Config
from vapray.doctor.findings import Finding, failed, ok, warning
from vapray.doctor.nodes import check_nodes
from vapray.errors import BackendError
from vapray.runtime.cluster_address import joined_address
from vapray.runtime.placement import ResourceDemand, placement_advice, resource_demands, shortfall

__all__ = ["check"]

CONNECT_SECONDS, NODE_SECONDS = 3, 30
# Starting Ray's client, the answers of the nodes, then three short requests.
SURVEY_SECONDS = 30 + 4 * NODE_SECONDS
DASHBOARD_PORT, SERVE_PORT = 8265, 8000
START = "Start a cluster with `ray start --head`, or leave cluster.address and RAY_ADDRESS empty for an embedded Ray."


def check(config: Config) -> Iterator[Finding]:
    """Connect to the cluster and check it; without an address, check the size of the embedded Ray."""
    yield _usage_statistics()
    try:
        address = joined_address(config.cluster)
    except BackendError as error:
        found, _, advice = str(error).partition(" Fix: ")
        yield failed("ray", found, advice, error.exit_code)
        return
    if not address:
        yield _embedded(config)
        return
    root = config.run.root if "://" in config.run.root else os.path.abspath(config.run.root)
    data_root = os.path.abspath(config.data.root) if config.data.root else None
    answer = _connection_error(address) or _survey(address, root, data_root, list(resource_demands(config)))
    if isinstance(answer, str):
        yield failed("ray", f"{address}: {answer}", START, 5)
        return
    alive = [node for node in answer["nodes"] if node["alive"]]
    yield ok("ray", f"{address}: {len(alive)} nodes, {_sum(alive, 'CPU'):g} CPUs, {_sum(alive, 'GPU'):g} GPUs")
    yield from _places(answer["short"], autoscales=answer["autoscales"])
    yield from check_nodes(answer, root=root, data_root=data_root, seconds=NODE_SECONDS)
    if len(alive) > 1 and "://" not in root and not config.cluster.shared_filesystem:
        yield _local_root(root, len(alive))
    addresses = sorted({node["address"] for node in alive})
    yield _dashboard(addresses)
    yield _serve(addresses)


def _sum(nodes: Sequence[Mapping[str, Any]], name: str) -> float:
    return float(sum(node["resources"].get(name, 0) for node in nodes))


def _places(short: Sequence[Mapping[str, Any]], *, autoscales: bool) -> Iterator[Finding]:
    """Compare the resource demands of the stages with the running nodes."""
    if not short:
        yield ok("places", "the nodes have the resources that every stage requests")
    for lack in short:
        if autoscales:
            advice = "Check that the autoscaler can add such nodes; the stage requests them when it starts."
            yield warning("places", lack["missing"], advice)
        else:
            yield failed("places", lack["missing"], lack["advice"], 5)


def _usage_statistics() -> Finding:
    if os.environ.get("RAY_USAGE_STATS_ENABLED", "0") == "0":
        return ok("usage statistics", "off: vapray sets RAY_USAGE_STATS_ENABLED=0 when it starts Ray")
    found = "Ray reports its use: RAY_USAGE_STATS_ENABLED is set"
    return warning("usage statistics", found, "Set RAY_USAGE_STATS_ENABLED=0.")


def _embedded(config: Config) -> Finding:
    """Compare the resource demands with the CPUs; the check of devices covers the GPUs."""
    cpus = config.cluster.num_cpus or max(4, os.cpu_count() or 1)
    node = {"an embedded Ray": {"CPU": float(cpus)}}
    found = f"embedded, {cpus} logical CPUs, no dashboard"
    for demand in resource_demands(config):
        bundle = {name: amount for name, amount in demand.bundle.items() if name != "GPU"}
        without_gpus = replace(demand, bundle=bundle)
        if missing := shortfall(without_gpus, node):
            return failed("ray", f"{found}; {missing}", placement_advice(without_gpus, node), 5)
    return ok("ray", found)


def _connection_error(address: str) -> str | None:
    """Open a TCP connection and return the error, if any; Ray itself resolves ``auto`` and ``local``."""
    host, colon, port = address.rsplit("/", 1)[-1].rpartition(":")
    if not colon or not port.isdigit():
        return None if address in ("auto", "local") else "expected host:port or auto"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        return f"no connection within {CONNECT_SECONDS} s ({error})"
    return None


def _survey(address: str, root: str, data_root: str | None, demands: list[ResourceDemand]) -> dict[str, Any] | str:
    """Return the state of the cluster, or the reason why it is unknown."""
    request = {"address": address, "root": root, "data_root": data_root, "seconds": NODE_SECONDS}
    order = json.dumps(request | {"demands": [asdict(demand) for demand in demands]})
    command = [sys.executable, "-m", "vapray.runtime.cluster_probe", order]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SURVEY_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"the port is open, but Ray does not answer within {SURVEY_SECONDS} s"
    try:
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return answer
    except (ValueError, IndexError):
        return "no Ray cluster answers" + "".join(f" ({line})" for line in done.stderr.strip().splitlines()[-1:])


def _local_root(root: str, nodes: int) -> Finding:
    found = f"{root} is a local path and the cluster has {nodes} nodes: a run would be refused"
    advice = "Set cluster.shared_filesystem=true if all nodes mount it, or use a URI such as s3://bucket/run."
    return failed("local run.root", found, advice, 2)


def _dashboard(addresses: list[str]) -> Finding:
    """Request the dashboard without a token: an open dashboard runs the code of any client."""
    if reachable := _open_addresses(addresses, f"{DASHBOARD_PORT}/api/version"):
        advice = "Set RAY_AUTH_MODE=token on every node, or start Ray with --dashboard-host=127.0.0.1."
        return failed("ray dashboard", f"port {DASHBOARD_PORT} of {reachable} answers without a token", advice, 5)
    return ok("ray dashboard", "not reachable from other machines, or protected by a token")


def _serve(addresses: list[str]) -> Finding:
    """Request the models of the service without a key; Ray's token does not protect the ports of Ray Serve."""
    if reachable := _open_addresses(addresses, f"{SERVE_PORT}/v1/models"):
        advice = "Set args.api_keys_file in the Serve config (vapray create-key creates keys), or serve on 127.0.0.1."
        return failed("serve", f"port {SERVE_PORT} of {reachable} lists its models without a key", advice, 5)
    return ok("serve", f"port {SERVE_PORT}: no access without a key")


def _open_addresses(addresses: list[str], path: str) -> str:
    """List the addresses that answer a request from other machines without credentials."""
    outside = [address for address in addresses if not address.startswith("127.")]
    return ", ".join(address for address in outside if _answers(f"http://{address}:{path}"))


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False
