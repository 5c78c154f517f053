"""The Ray cluster that a run would join: does it answer, is it large enough, whole, and closed to strangers?"""

import json
import math
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from vapray.config import Config
from vapray.doctor.findings import Finding, failed, ok, warning
from vapray.doctor.nodes import findings_on
from vapray.placement import Demand, advice_on, demands_of, shortfall

__all__ = ["examine"]

CONNECT_SECONDS, NODE_SECONDS = 3, 30
# Starting Ray's client, the nodes' answers, then three short questions.
SURVEY_SECONDS = 30 + 4 * NODE_SECONDS
DASHBOARD_PORT, SERVE_PORT = 8265, 8000
START = "Start one with `ray start --head`, or leave cluster.address (and RAY_ADDRESS) empty for an embedded Ray."


def examine(config: Config) -> Iterator[Finding]:
    """Joins the cluster for a moment; without an address there is nothing to join."""
    yield _usage_statistics()
    address = config.cluster.address or os.environ.get("RAY_ADDRESS")
    if not address:
        yield _embedded(config)
        return
    if refusal := _refusal(address):
        yield failed("ray", f"{address}: {refusal}", START, 5)
        return
    root = config.run.root if "://" in config.run.root else os.path.abspath(config.run.root)
    data_root = os.path.abspath(config.data.root) if config.data.root else None
    answer = _survey(address, root, data_root, list(demands_of(config)))
    if isinstance(answer, str):
        yield failed("ray", f"{address}: {answer}", START, 5)
        return
    alive = [node for node in answer["nodes"] if node["alive"]]
    yield ok("ray", f"{address}: {len(alive)} nodes, {_sum(alive, 'CPU'):g} CPUs, {_sum(alive, 'GPU'):g} GPUs")
    yield from _fitting(answer["short"], autoscales=answer["autoscales"])
    yield from findings_on(answer, root=root, data_root=data_root, seconds=NODE_SECONDS)
    if len(alive) > 1 and "://" not in root and not config.cluster.shared_filesystem:
        yield _unsaid(root, len(alive))
    addresses = sorted({node["address"] for node in alive})
    yield _dashboard(addresses)
    yield _serve(addresses)


def _sum(nodes: Sequence[Mapping[str, Any]], name: str) -> float:
    return float(sum(node["resources"].get(name, 0) for node in nodes))


def _fitting(short: Sequence[Mapping[str, Any]], *, autoscales: bool) -> Iterator[Finding]:
    """What each stage asks for, against single nodes that are up."""
    if not short:
        yield ok("places", "every stage finds nodes for what it asks")
    for lack in short:
        if autoscales:
            advice = "Whether the autoscaler can add nodes for it is asked when the stage starts: asking starts them."
            yield warning("places", lack["missing"], advice)
        else:
            yield failed("places", lack["missing"], lack["advice"], 5)


def _usage_statistics() -> Finding:
    if os.environ.get("RAY_USAGE_STATS_ENABLED", "0") == "0":
        return ok("usage statistics", "off: vapray sets RAY_USAGE_STATS_ENABLED=0 where it starts Ray")
    return warning(
        "usage statistics", "RAY_USAGE_STATS_ENABLED is set", "Ray reports its use. Set it to 0 to stop that."
    )


def _embedded(config: Config) -> Finding:
    """GPUs are looked at where devices are."""
    cpus = config.cluster.num_cpus or max(4, os.cpu_count() or 1)
    node = {"an embedded Ray": {"CPU": float(cpus), "GPU": math.inf}}
    found = f"embedded, {cpus} logical CPUs, no dashboard"
    for demand in demands_of(config):
        if missing := shortfall(demand, node):
            return failed("ray", f"{found}; {missing}", advice_on(demand, node), 5)
    return ok("ray", found)


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


def _survey(address: str, root: str, data_root: str | None, demands: list[Demand]) -> dict[str, Any] | str:
    """What the cluster has, or why that cannot be told."""
    asked = {"address": address, "root": root, "data_root": data_root, "seconds": NODE_SECONDS}
    order = json.dumps(asked | {"demands": [asdict(demand) for demand in demands]})
    command = [sys.executable, "-m", "vapray.survey", order]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SURVEY_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"something listens, but does not answer as Ray does within {SURVEY_SECONDS} s"
    try:
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return answer
    except (ValueError, IndexError):
        return "no Ray cluster answers" + "".join(f" ({line})" for line in done.stderr.strip().splitlines()[-1:])


def _unsaid(root: str, nodes: int) -> Finding:
    advice = "If all of them mount it, say cluster.shared_filesystem=true; or give a URI such as s3://bucket/run."
    return failed(
        "local run.root", f"{root} is a local path and there are {nodes} nodes: a run refuses that", advice, 2
    )


def _dashboard(addresses: list[str]) -> Finding:
    """Whoever reaches Ray's dashboard without a token may run code on the cluster."""
    outside = [address for address in addresses if not address.startswith("127.")]
    open_ones = [address for address in outside if _answers_strangers(f"http://{address}:{DASHBOARD_PORT}/api/version")]
    if open_ones:
        advice = "Set RAY_AUTH_MODE=token on every node, or start Ray with --dashboard-host=127.0.0.1."
        found = f"port {DASHBOARD_PORT} of {', '.join(open_ones)} answers without a token"
        return failed("ray dashboard", found, advice, 5)
    return ok("ray dashboard", "closed to other machines, or asks for a token")


def _serve(addresses: Sequence[str]) -> Finding:
    """Ray's token does not guard what Ray Serve listens on: there are only the API's own keys."""
    open_ones = [address for address in addresses if _answers_strangers(f"http://{address}:{SERVE_PORT}/v1/models")]
    outside = [address for address in open_ones if not address.startswith("127.")]
    if outside:
        advice = "Serve with args.api_keys_file (vapray key makes them), or let it listen on 127.0.0.1."
        found = f"port {SERVE_PORT} of {', '.join(outside)} lists its models without a key"
        return failed("serve", found, advice, 5)
    return ok("serve", f"port {SERVE_PORT}: nothing there for whoever has no key")


def _answers_strangers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False
