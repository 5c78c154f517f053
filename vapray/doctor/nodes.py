"""Checks of the nodes of a running cluster: one finding per property, from :mod:`vapray.runtime.cluster_probe`."""

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from rich.filesize import decimal

from vapray import __version__
from vapray.doctor.findings import Finding, failed, ok, warning
from vapray.doctor.machine import RAY_MAX_DISK_SHARE
from vapray.doctor.run_root import MIN_FREE_BYTES
from vapray.store.lease import LIFETIME_SECONDS

__all__ = ["check_nodes"]

Node = Mapping[str, Any]
# A lease tolerates the larger difference; the smaller one already means that no service sets the clock.
MAX_CLOCK_SECONDS, UNSET_CLOCK_SECONDS = 0.75 * LIFETIME_SECONDS, 2.0
MAX_LISTED = 3


def check_nodes(answer: Mapping[str, Any], *, root: str, data_root: str | None, seconds: float) -> Iterator[Finding]:
    """Check each property that a single node can fail; a failed finding names the nodes.

    Args:
        answer: return value of :func:`vapray.runtime.cluster_probe.probe_cluster`.
        root: ``run.root`` as requested from the nodes.
        data_root: folder of the images; None: not requested.
        seconds: time limit of each node's answer.
    """
    nodes: Sequence[Node] = answer["nodes"]
    answering = [node for node in nodes if "packages" in node]
    yield _alive(nodes, seconds)
    if not answering:
        return
    names = {node["id"]: _name(node) for node in nodes}
    yield _versions(answering)
    yield _packages(answering)
    yield _disks(answering)
    yield _shared_memory(answering)
    yield _clocks(answer["clock"], names)
    yield _shared(answer["unshared"], names, root, sum(node["opens_root"] for node in answering))
    if data_root:
        yield _data_root(answering, data_root)


def _alive(nodes: Sequence[Node], seconds: float) -> Finding:
    alive = [node for node in nodes if node["alive"]]
    found = f"{len(alive)} alive, {len(nodes) - len(alive)} dead"
    if silent := [node for node in alive if "silent" in node]:
        reasons = _listed(silent, lambda node: f" ({node['silent']})" if isinstance(node["silent"], str) else "")
        advice = "Read raylet.out in its logs and stop Ray there: work placed on it waits without end."
        return failed("nodes", f"{found}; no answer within {seconds:g} s from {reasons}", advice, 5)
    if dead := [node for node in nodes if not node["alive"]]:
        reasons = _listed(dead, lambda node: f" ({node['died']})")
        return warning("nodes", f"{found}: {reasons}", "Restart them if the run needs them; Ray places no work there.")
    return ok("nodes", found)


def _versions(answering: Sequence[Node]) -> Finding:
    python, ray = platform.python_version(), version("ray")
    own = f"Python {python}, Ray {ray}"
    other = [node for node in answering if (node["python"], node["packages"]["ray"]) != (python, ray)]
    if other:
        named = _listed(other, lambda node: f" has Python {node['python']}, Ray {node['packages']['ray']}")
        advice = "Install the same Python and Ray on all machines."
        return failed("node versions", f"{named}; this machine has {own}", advice, 5)
    return ok("node versions", f"{own} on all nodes")


def _packages(answering: Sequence[Node]) -> Finding:
    how = "installed packages, without a working_dir"
    without_torch = [node for node in answering if node["packages"]["torch"] is None]
    if without_torch:
        advice = "Install the version of constraints.txt there."
        return failed("node packages", f"no torch on {_listed(without_torch)} ({how})", advice, 5)
    other = [node for node in answering if node["packages"]["vapray"] not in (None, __version__)]
    if other:
        named = _listed(other, lambda node: f" has {node['packages']['vapray']}")
        found = f"this machine has vapray {__version__}; {named} ({how})"
        return failed("node packages", found, "Install one version on all machines.", 5)
    if without := [node for node in answering if node["packages"]["vapray"] is None]:
        advice = "Install it there, or submit jobs with --working-dir . to upload it."
        return warning("node packages", f"no vapray on {_listed(without)} ({how})", advice)
    return ok("node packages", f"vapray {__version__} and torch on all nodes ({how})")


def _disks(answering: Sequence[Node]) -> Finding:
    full = [node for node in answering if 1 - node["disk"][0] / node["disk"][1] > RAY_MAX_DISK_SHARE]
    if full:
        advice = "Free space for temporary files there. Above 95 % Ray refuses to spill objects."
        return failed("node disks", _listed(full, _disk), advice, 5)
    if small := [node for node in answering if node["disk"][0] < MIN_FREE_BYTES]:
        advice = "Free space there: Ray spills objects that do not fit in memory."
        return warning("node disks", _listed(small, _disk), advice)
    return ok("node disks", f"at least {decimal(min(node['disk'][0] for node in answering))} free for temporary files")


def _disk(node: Node) -> str:
    return f": {decimal(node['disk'][0])} free of {decimal(node['disk'][1])}"


def _shared_memory(answering: Sequence[Node]) -> Finding:
    stores = {node["id"]: int(node["resources"].get("object_store_memory", 0)) for node in answering}
    small = [node for node in answering if stores[node["id"]] > (node["shared_memory"] or [0, 0])[1]]
    if small:
        named = _listed(small, lambda node: f": store {decimal(stores[node['id']])}, {_shm(node)}")
        advice = "Enlarge /dev/shm (--shm-size, or an emptyDir of medium Memory): Ray uses slower files instead."
        return warning("object stores", named, advice)
    return ok("object stores", f"{decimal(min(stores.values()))} or more per node, within /dev/shm")


def _shm(node: Node) -> str:
    return f"shared memory {decimal(node['shared_memory'][1])}" if node["shared_memory"] else "no shared memory"


def _clocks(readings: Mapping[str, Sequence[float]], names: Mapping[str, str]) -> Finding:
    ahead = {"this machine": 0.0} | {names[node]: reading[0] for node, reading in readings.items()}
    first, last = min(ahead, key=ahead.__getitem__), max(ahead, key=ahead.__getitem__)
    apart, error = ahead[last] - ahead[first], max((reading[1] for reading in readings.values()), default=0.0)
    found = f"{last} is {apart:.1f} s ahead of {first}, error {error:.1f} s"
    advice = "Synchronize the clocks with NTP, for example with chrony."
    if apart - error > MAX_CLOCK_SECONDS:
        return failed("clocks", f"{found}; a lease tolerates {MAX_CLOCK_SECONDS:g} s", advice, 3)
    if apart - error > UNSET_CLOCK_SECONDS:
        return warning("clocks", f"{found}; a run tolerates {MAX_CLOCK_SECONDS:g} s", advice)
    return ok("clocks", f"within {apart:.1f} s of each other, error {error:.1f} s")


def _shared(unshared: Mapping[str, str], names: Mapping[str, str], root: str, count: int) -> Finding:
    if unshared:
        named = ", ".join(f"{names[node]} {found}" for node, found in list(unshared.items())[:MAX_LISTED])
        more = f" and {len(unshared) - MAX_LISTED} more" if len(unshared) > MAX_LISTED else ""
        advice = "Mount one file system there on every node, or use a URI such as s3://bucket/run."
        return failed("shared run.root", f"{root}, written by one node: {named}{more}", advice, 2)
    if not count:
        return ok("shared run.root", f"{root}: not checked, because no node has vapray to open it")
    how = f"a file written by one of {count} nodes was read by all" if count > 1 else "the only node can write there"
    return ok("shared run.root", f"{root}: {how}")


def _data_root(answering: Sequence[Node], data_root: str) -> Finding:
    if without := [node for node in answering if node["data_root"]]:
        named = _listed(without, lambda node: f" ({node['data_root']})")
        return failed("node data.root", f"{data_root} on {named}", "Mount or copy the images there, same path.", 3)
    return ok("node data.root", f"{data_root} is readable on every node")


def _name(node: Node) -> str:
    return f"node {node['address']} ({node['id'][:6]})"


def _listed(nodes: Sequence[Node], more: Callable[[Node], str] = lambda node: "") -> str:
    named = ", ".join(_name(node) + more(node) for node in nodes[:MAX_LISTED])
    return named + (f" and {len(nodes) - MAX_LISTED} more" if len(nodes) > MAX_LISTED else "")
