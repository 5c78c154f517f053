"""Prometheus metrics of all nodes: Ray collects them from replicas, and each node's agent exports them.

Ray Serve's own metrics of proxies and queues are on the same port of each node; the Prometheus of a cluster scrapes it.
"""

import itertools
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPException

import ray

__all__ = ["exported_metrics"]

PREFIX = "ray_vapray_"
TIMEOUT_SECONDS = 5.0
WITHOUT_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def exported_metrics() -> str:
    """Collect the service's metrics from all nodes that respond; Ray updates them every few seconds."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    with ThreadPoolExecutor(max(1, len(nodes))) as pool:
        lines = itertools.chain.from_iterable(pool.map(_lines, nodes))
        return "\n".join([*dict.fromkeys(lines), ""])  # each HELP and TYPE line once


def _lines(node: dict[str, object]) -> list[str]:
    with suppress(OSError, HTTPException, ValueError):
        address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        with WITHOUT_PROXY.open(address, timeout=TIMEOUT_SECONDS) as response:
            return [line for line in response.read().decode().splitlines() if _metric(line).startswith(PREFIX)]
    return []


def _metric(line: str) -> str:
    return line.split()[2] if line.startswith("# ") else line
