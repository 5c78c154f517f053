"""Prometheus metrics of all nodes: Ray collects them from replicas, and each node's agent exports them.

Ray Serve's own metrics of proxies and queues are on the same port of each node; the Prometheus of a cluster scrapes it.
"""

import urllib.request
from collections.abc import Iterable, Iterator
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
        return "\n".join([*_unique_comments(line for lines in pool.map(_lines, nodes) for line in lines), ""])


def _lines(node: dict[str, object]) -> list[str]:
    with suppress(OSError, HTTPException, ValueError):
        address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        with WITHOUT_PROXY.open(address, timeout=TIMEOUT_SECONDS) as response:
            return [line for line in response.read().decode().splitlines() if _metric(line).startswith(PREFIX)]
    return []


def _metric(line: str) -> str:
    return line.split()[2] if line.startswith("# ") else line


def _unique_comments(lines: Iterable[str]) -> Iterator[str]:
    """Yield all samples, and each HELP and TYPE line once."""
    seen: set[str] = set()
    for line in lines:
        if line not in seen or not line.startswith("# "):
            seen.add(line)
            yield line
