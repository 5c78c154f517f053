"""Probe of a running cluster: resources, versions, disks, clocks and the shared run root of its nodes.

    python -m vapray.survey ORDER   prints the result; ORDER and result are JSON

It runs in a separate process, since Ray waits long for nodes that do not answer and cannot be interrupted meanwhile.
"""

import json
import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from vapray import node_probe
from vapray.autoscaler import autoscales
from vapray.cluster import connected, live_nodes
from vapray.config import Cluster
from vapray.placement import Demand, advice_on, shortfall

__all__ = ["survey"]

CLOCK_READINGS = 3


def survey(address: str, root: str, data_root: str | None, demands: list[Demand], seconds: float) -> dict[str, Any]:
    """Probe every node; remove all files written for it.

    Args:
        address: Address of the cluster.
        root: ``run.root``, an absolute path or URI.
        data_root: Folder that every node must be able to read; None: none.
        demands: Resource demands of a run.
        seconds: Timeout for the answer of a node.

    Returns:
        ``nodes`` (address, id, alive, resources, and the result of :meth:`NodeProbe.look`, ``silent`` without an
        answer), ``clock`` (by node id: seconds ahead of this machine, and the uncertainty), ``unshared`` (by node id:
        the result of reading a file that another node wrote to ``root``, if it differs), ``short`` (missing resources
        and advice), ``autoscales`` (True if the cluster has an autoscaler that a stage would use; it is not used here,
        since that starts nodes).

    Raises:
        BackendError: no cluster answers at the address.
    """
    import ray

    with connected(Cluster(address=address)):
        nodes = {node["NodeID"]: node for node in ray.nodes()}
        probes = {name: _probe(name) for name, node in nodes.items() if node["Alive"]}
        looks = _answers({name: probe.look.remote(root, data_root) for name, probe in probes.items()}, seconds)
        awake = {name: probes[name] for name, look in looks.items() if isinstance(look, dict)}
        return {
            "nodes": [_card(node, looks.get(name)) for name, node in nodes.items()],
            "clock": {name: read for name, probe in awake.items() if (read := _ahead(probe.now, seconds))},
            "unshared": _unshared({name: awake[name] for name in awake if looks[name]["opens_root"]}, root, seconds),
            "short": _short(demands),
            "autoscales": autoscales(),
        }


def _probe(node: str) -> Any:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray.cloudpickle.register_pickle_by_value(node_probe)
    there = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    actor: Any = ray.remote(node_probe.NodeProbe)
    return actor.options(num_cpus=0, scheduling_strategy=there).remote()


def _answers(asked: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Collect the answers that arrive in time; for a failure, the last line of its error, as text."""
    import ray

    ready, _ = ray.wait(list(asked.values()), num_returns=len(asked), timeout=seconds) if asked else ([], [])
    answers: dict[str, Any] = {}
    for name, reference in asked.items():
        if reference in ready:
            try:
                answers[name] = ray.get(reference)
            except ray.exceptions.RayError as error:
                answers[name] = str(error).strip().splitlines()[-1]
    return answers


def _card(node: Mapping[str, Any], look: Any) -> dict[str, Any]:
    named = {"address": node["NodeManagerAddress"], "id": node["NodeID"], "alive": node["Alive"]}
    if not isinstance(look, dict):
        look = {"silent": look or True} if node["Alive"] else {"died": node.get("DeathReasonMessage") or "unknown"}
    return {**named, "resources": node["Resources"], **look}


def _ahead(now: Any, seconds: float) -> list[float] | None:
    """Measure how far a node's clock is ahead, and the uncertainty, half of the fastest round trip; None: no answer."""
    import ray

    readings = []
    for _ in range(CLOCK_READINGS):
        with suppress(ray.exceptions.RayError):
            begin = time.time()
            there = ray.get(now.remote(), timeout=seconds)
            end = time.time()
            readings.append((end - begin, there - (begin + end) / 2))
    if not readings:
        return None
    trip, ahead = min(readings)
    return [ahead, trip / 2]


def _unshared(awake: Mapping[str, Any], root: str, seconds: float) -> dict[str, str]:
    """Have one node write a small file and all others read it; list the nodes that fail."""
    if not awake:
        return {}
    name, data = f"doctor-{uuid.uuid4().hex}", uuid.uuid4().bytes
    writer, *others = awake
    written = _answers({writer: awake[writer].write.remote(root, name, data)}, seconds)
    if (failure := written.get(writer, "no answer")) is not None:
        awake[writer].remove.remote(root, name)  # in case it was written after all
        return {writer: f"cannot write to it ({failure})"}
    found = _answers({other: awake[other].read.remote(root, name) for other in others}, seconds)
    _answers({writer: awake[writer].remove.remote(root, name)}, seconds)
    return {other: _instead(found.get(other, "no answer")) for other in others if found.get(other, "") != data}


def _instead(found: bytes | str | None) -> str:
    return found if isinstance(found, str) else "finds no file in it" if found is None else "finds another file in it"


def _short(demands: list[Demand]) -> list[dict[str, Any]]:
    nodes = live_nodes()
    short = [(demand, missing) for demand in demands if (missing := shortfall(demand, nodes))]
    return [{"missing": missing, "advice": advice_on(demand, nodes)} for demand, missing in short]


if __name__ == "__main__":
    order = json.loads(sys.argv[1])
    order["demands"] = [Demand(**demand) for demand in order["demands"]]
    print(json.dumps(survey(**order)))
