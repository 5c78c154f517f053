"""Prometheus text of all nodes: Ray collects what replicas tell, and each node's agent exports it.

Serve's own metrics, of proxies and queues, are on the same port of each node; a Prometheus of the cluster scrapes that.
"""

import urllib.request
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPException

import ray

__all__ = ["exported_metrics"]

OURS = "ray_vapray_"
SECONDS = 5.0
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def exported_metrics() -> str:
    """What the service told Ray, over all nodes that answer; Ray brings it up to date every few seconds."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    with ThreadPoolExecutor(max(1, len(nodes))) as asked:
        return "\n".join([*_once(line for lines in asked.map(_lines, nodes) for line in lines), ""])


def _lines(node: dict[str, object]) -> list[str]:
    with suppress(OSError, HTTPException, ValueError):
        address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        with DIRECT.open(address, timeout=SECONDS) as answer:
            return [line for line in answer.read().decode().splitlines() if _metric(line).startswith(OURS)]
    return []


def _metric(line: str) -> str:
    return line.split()[2] if line.startswith("# ") else line


def _once(lines: Iterable[str]) -> Iterator[str]:
    """What each metric is stands once, whoever says it."""
    seen: set[str] = set()
    for line in lines:
        if line not in seen or not line.startswith("# "):
            seen.add(line)
            yield line
