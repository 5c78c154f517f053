"""Prometheus text of all nodes: Ray collects what replicas tell, and each node's agent exports it.

Serve's own metrics, of proxies and queues, are on the same port of each node; a Prometheus of the cluster scrapes that.
"""

import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import suppress

import ray

__all__ = ["exported_metrics"]

OURS = "ray_vapray_"
SECONDS = 5.0


def exported_metrics() -> str:
    """What the service told Ray, over all nodes that answer; Ray brings it up to date every few seconds."""
    return "\n".join([*_once(line for node in ray.nodes() if node["Alive"] for line in _lines(node)), ""])


def _lines(node: dict[str, object]) -> list[str]:
    with suppress(OSError):
        address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        with urllib.request.urlopen(address, timeout=SECONDS) as answer:
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
