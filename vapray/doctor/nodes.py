"""The nodes of a running cluster, from what :mod:`vapray.survey` brought: one finding a question, bad nodes by name."""

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from rich.filesize import decimal

from vapray import __version__
from vapray.doctor.findings import Finding, failed, ok, warning
from vapray.doctor.machine import RAY_FULL_SHARE
from vapray.doctor.run_folder import LITTLE_ROOM_BYTES
from vapray.lease import LIFETIME_SECONDS

__all__ = ["findings_on"]

Node = Mapping[str, Any]
# As vapray.lease has it; a clock that is off by much less is already one that nobody sets.
CLOCKS_MAY_DIFFER, CLOCKS_SHOULD_DIFFER = 0.75 * LIFETIME_SECONDS, 2.0
SHOWN = 3


def findings_on(answer: Mapping[str, Any], *, root: str, data_root: str | None, seconds: float) -> Iterator[Finding]:
    """Every question that one node or another can fail.

    Args:
        answer: of :func:`vapray.survey.survey`.
        root: ``run.root``, as the nodes were asked for it.
        data_root: the folder of pictures; None: not asked for.
        seconds: how long the nodes were given.
    """
    nodes: Sequence[Node] = answer["nodes"]
    awake = [node for node in nodes if "packages" in node]
    yield _alive(nodes, seconds)
    if not awake:
        return
    names = {node["id"]: _name(node) for node in nodes}
    yield _versions(awake)
    yield _packages(awake)
    yield _disks(awake)
    yield _shared_memory(awake)
    yield _clocks(answer["clock"], names)
    yield _shared(answer["unshared"], names, root, sum(node["opens_root"] for node in awake))
    if data_root:
        yield _pictures(awake, data_root)


def _alive(nodes: Sequence[Node], seconds: float) -> Finding:
    alive = [node for node in nodes if node["alive"]]
    found = f"{len(alive)} alive, {len(nodes) - len(alive)} dead"
    if silent := [node for node in alive if "silent" in node]:
        reasons = _listed(silent, lambda node: f" ({node['silent']})" if isinstance(node["silent"], str) else "")
        advice = "Look at raylet.out in its logs, and end Ray there: what is placed on it would wait for ever."
        return failed("nodes", f"{found}; no answer within {seconds:g} s from {reasons}", advice, 5)
    if dead := [node for node in nodes if not node["alive"]]:
        reasons = _listed(dead, lambda node: f" ({node['died']})")
        return warning("nodes", f"{found}: {reasons}", "Nothing is placed on them. Start them again if missed.")
    return ok("nodes", found)


def _versions(awake: Sequence[Node]) -> Finding:
    python, ray = platform.python_version(), version("ray")
    own = f"Python {python}, Ray {ray}"
    other = [node for node in awake if (node["python"], node["packages"]["ray"]) != (python, ray)]
    if other:
        said = _listed(other, lambda node: f" has Python {node['python']}, Ray {node['packages']['ray']}")
        return failed("node versions", f"{said}; here {own}", "Ray needs one Python and one Ray everywhere.", 5)
    return ok("node versions", f"{own} everywhere")


def _packages(awake: Sequence[Node]) -> Finding:
    how = "by what is installed on the nodes, without a working_dir; nothing was imported"
    without_torch = [node for node in awake if node["packages"]["torch"] is None]
    if without_torch:
        advice = "Install it there as constraints.txt has it."
        return failed("node packages", f"no torch on {_listed(without_torch)} ({how})", advice, 5)
    other = [node for node in awake if node["packages"]["vapray"] not in (None, __version__)]
    if other:
        said = _listed(other, lambda node: f" has {node['packages']['vapray']}")
        return failed(
            "node packages", f"vapray {__version__} here; {said} ({how})", "Install one version everywhere.", 5
        )
    if without := [node for node in awake if node["packages"]["vapray"] is None]:
        advice = "Install it there, or submit jobs with --working-dir . so that it comes along."
        return warning("node packages", f"no vapray on {_listed(without)} ({how})", advice)
    return ok("node packages", f"vapray {__version__} and torch on all nodes ({how})")


def _disks(awake: Sequence[Node]) -> Finding:
    full = [node for node in awake if 1 - node["disk"][0] / node["disk"][1] > RAY_FULL_SHARE]
    if full:
        said = _listed(full, _room)
        return failed(
            "node disks", said, "Above 95 % Ray refuses to spill objects. Make room for temporary files there.", 5
        )
    if little := [node for node in awake if node["disk"][0] < LITTLE_ROOM_BYTES]:
        return warning("node disks", _listed(little, _room), "Objects that do not fit in memory are spilled there.")
    return ok("node disks", f"at least {decimal(min(node['disk'][0] for node in awake))} free for temporary files")


def _room(node: Node) -> str:
    return f": {decimal(node['disk'][0])} free of {decimal(node['disk'][1])}"


def _shared_memory(awake: Sequence[Node]) -> Finding:
    stores = {node["id"]: int(node["resources"].get("object_store_memory", 0)) for node in awake}
    small = [node for node in awake if stores[node["id"]] > (node["shared_memory"] or [0, 0])[1]]
    if small:
        said = _listed(small, lambda node: f": store {decimal(stores[node['id']])}, {_shm(node)}")
        advice = "Ray uses files instead, which is slow. Give /dev/shm more: an emptyDir of medium Memory, --shm-size."
        return warning("object stores", said, advice)
    return ok("object stores", f"{decimal(min(stores.values()))} or more a node, within /dev/shm")


def _shm(node: Node) -> str:
    return f"shared memory {decimal(node['shared_memory'][1])}" if node["shared_memory"] else "no shared memory"


def _clocks(readings: Mapping[str, Sequence[float]], names: Mapping[str, str]) -> Finding:
    ahead = {"this machine": 0.0} | {names[node]: reading[0] for node, reading in readings.items()}
    first, last = min(ahead, key=ahead.__getitem__), max(ahead, key=ahead.__getitem__)
    apart, exactly = ahead[last] - ahead[first], max((reading[1] for reading in readings.values()), default=0.0)
    found = f"{last} is {apart:.1f} s ahead of {first}, give or take {exactly:.1f} s"
    advice = "Set the clocks, with chrony or another service of NTP."
    if apart - exactly > CLOCKS_MAY_DIFFER:
        return failed("clocks", f"{found}; a lease outlives a difference of {CLOCKS_MAY_DIFFER:g} s", advice, 3)
    if apart - exactly > CLOCKS_SHOULD_DIFFER:
        return warning("clocks", f"{found}; up to {CLOCKS_MAY_DIFFER:g} s do no harm", advice)
    return ok("clocks", f"within {apart:.1f} s of each other, give or take {exactly:.1f} s")


def _shared(unshared: Mapping[str, str], names: Mapping[str, str], root: str, count: int) -> Finding:
    if unshared:
        said = ", ".join(f"{names[node]} {found}" for node, found in list(unshared.items())[:SHOWN])
        more = f" and {len(unshared) - SHOWN} more" if len(unshared) > SHOWN else ""
        advice = "Mount one file system there on every node, or give a URI such as s3://bucket/run."
        return failed("shared run.root", f"{root}, written by one node: {said}{more}", advice, 2)
    if not count:
        return ok("shared run.root", f"{root}: not tried, for on the nodes there is no vapray to open it with")
    how = f"a file written by one of {count} was read by all" if count > 1 else "the one node can write there"
    return ok("shared run.root", f"{root}: {how}")


def _pictures(awake: Sequence[Node], data_root: str) -> Finding:
    if without := [node for node in awake if node["data_root"]]:
        said = _listed(without, lambda node: f" ({node['data_root']})")
        return failed("node data.root", f"{data_root} on {said}", "Mount or copy the pictures there, same path.", 3)
    return ok("node data.root", f"{data_root} can be read on every node")


def _name(node: Node) -> str:
    return f"node {node['address']} ({node['id'][:6]})"


def _listed(nodes: Sequence[Node], more: Callable[[Node], str] = lambda node: "") -> str:
    said = ", ".join(_name(node) + more(node) for node in nodes[:SHOWN])
    return said + (f" and {len(nodes) - SHOWN} more" if len(nodes) > SHOWN else "")
