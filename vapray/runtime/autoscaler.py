"""Request nodes from Ray's autoscaler and wait for them.

A driver cannot query the node types of an autoscaler. Autoscaler version 2 (KubeRay's, or
RAY_enable_autoscaler_v2=1 on the head) reads the demands of all drivers every few seconds and lists those that none of
its node types can meet. So the demand is made as a placement group and kept until its nodes have started.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from vapray.errors import BackendError
from vapray.runtime.placement import ResourceDemand

__all__ = ["request_nodes", "supports_autoscaling"]

ANSWER_SECONDS, SECONDS_BETWEEN_LOOKS, SECONDS_BETWEEN_WORDS = 60, 0.3, 300


def supports_autoscaling() -> bool:
    """Check that this cluster runs autoscaler version 2; every head runs some autoscaler, if only to monitor."""
    from ray.autoscaler.v2.utils import is_autoscaler_v2

    return is_autoscaler_v2(fetch_from_server=True)


def request_nodes(demand: ResourceDemand, missing: str, log: Callable[[str], None]) -> bool:
    """Request nodes that meet a demand, and wait for them without a time limit.

    Args:
        demand: Demand that the running nodes cannot meet.
        missing: The missing resources, as text.
        log: Logs the missing resources, at first and every five minutes.

    Returns:
        True when the nodes have started; False if the autoscaler has no node type for the demand, or may not start
        enough of them.

    Raises:
        BackendError: The autoscaler does not answer.
    """
    from ray.util.placement_group import placement_group, remove_placement_group

    group = placement_group([dict(demand.bundle)] * demand.count)
    try:
        if not _is_feasible(group, demand):
            return False
        log(f"waiting for nodes: {missing}; the autoscaler is adding some")
        began = said = time.monotonic()
        while not group.wait(SECONDS_BETWEEN_LOOKS):
            if time.monotonic() - said > SECONDS_BETWEEN_WORDS:
                said = time.monotonic()
                log(f"waiting for nodes for {(said - began) / 60:.0f} min: {missing}. Check the autoscaler's log")
        return True
    finally:
        remove_placement_group(group)


def _is_feasible(group: Any, demand: ResourceDemand) -> bool:
    """Check that the autoscaler can place the group, once it has read a cluster state in which the group is pending."""
    import ray
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply  # type: ignore[attr-defined]

    name, client = group.id.hex(), GcsClient(address=ray.get_runtime_context().gcs_address)
    deadline, asked_in = time.monotonic() + ANSWER_SECONDS, None
    while time.monotonic() < deadline:
        with suppress(ray.exceptions.RayError):  # a busy head may fail to answer; the next attempt asks again
            status = GetClusterStatusReply.FromString(client.get_cluster_status(timeout_s=ANSWER_SECONDS))
            cluster, answer = status.cluster_resource_state, status.autoscaling_state
            if any(name in request.details for request in answer.infeasible_gang_resource_requests):
                return False
            if asked_in is None:
                waits = any(name in request.details for request in cluster.pending_gang_resource_requests)
                asked_in = cluster.cluster_resource_state_version if waits else None
            elif answer.last_seen_cluster_resource_state_version >= asked_in:
                return True
        if group.wait(SECONDS_BETWEEN_LOOKS):  # the group already has its nodes
            return True
    raise BackendError(
        f"{demand.why} fits on no running node, and the cluster's autoscaler did not answer within {ANSWER_SECONDS} s "
        "whether it can add one. Fix: check its log (monitor.log on the head, or container autoscaler of its pod)."
    )
