"""Nodes that are not there yet: Ray's autoscaler is asked for them, and waited for.

No driver is told which node types an autoscaler has. But version 2 of it (KubeRay's, or RAY_enable_autoscaler_v2=1 on
the head) looks at the demands of all drivers every few seconds, and leaves a note of those that no node type of it can
meet. So the demand is made, as a placement group, and stands until its nodes are there.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from vapray.errors import BackendError
from vapray.placement import Demand

__all__ = ["add_nodes", "autoscales"]

ANSWER_SECONDS, SECONDS_BETWEEN_LOOKS, SECONDS_BETWEEN_WORDS = 60, 0.3, 300


def autoscales() -> bool:
    """Whether this cluster's autoscaler is one that answers; every head runs one, if only to watch."""
    from ray.autoscaler.v2.utils import is_autoscaler_v2

    return is_autoscaler_v2(fetch_from_server=True)


def add_nodes(demand: Demand, missing: str, say: Callable[[str], None]) -> bool:
    """Have nodes added that meet a demand, and wait for them, as long as it takes.

    Args:
        demand: what no nodes that are up could meet.
        missing: that, for people.
        say: hears what is waited for, at first and every five minutes.

    Returns:
        False where the autoscaler has no node types for it, or may not start enough of them.

    Raises:
        BackendError: it does not answer.
    """
    from ray.util.placement_group import placement_group, remove_placement_group

    group = placement_group([dict(demand.bundle)] * demand.count)
    try:
        if not _can_come(group, demand):
            return False
        say(f"waiting for nodes: {missing}; the autoscaler adds some")
        began = said = time.monotonic()
        while not group.wait(SECONDS_BETWEEN_LOOKS):
            if time.monotonic() - said > SECONDS_BETWEEN_WORDS:
                said = time.monotonic()
                say(f"waiting for nodes for {(said - began) / 60:.0f} min: {missing}. Look at the autoscaler's log")
        return True
    finally:
        remove_placement_group(group)


def _can_come(group: Any, demand: Demand) -> bool:
    """As soon as the autoscaler has looked at a state of the cluster in which the group was waiting."""
    import ray
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply  # type: ignore[attr-defined]

    name, client = group.id.hex(), GcsClient(address=ray.get_runtime_context().gcs_address)
    deadline, asked_in = time.monotonic() + ANSWER_SECONDS, None
    while time.monotonic() < deadline:
        with suppress(ray.exceptions.RayError):  # a head that is busy is asked again
            status = GetClusterStatusReply.FromString(client.get_cluster_status(timeout_s=ANSWER_SECONDS))
            cluster, answer = status.cluster_resource_state, status.autoscaling_state
            if any(name in request.details for request in answer.infeasible_gang_resource_requests):
                return False
            if asked_in is None:
                waits = any(name in request.details for request in cluster.pending_gang_resource_requests)
                asked_in = cluster.cluster_resource_state_version if waits else None
            elif answer.last_seen_cluster_resource_state_version >= asked_in:
                return True
        if group.wait(SECONDS_BETWEEN_LOOKS):  # it has its nodes already
            return True
    raise BackendError(
        f"{demand.why} fits on no node that is up, and the cluster's autoscaler has not said within {ANSWER_SECONDS} s "
        "whether it could add one. Look at its log (monitor.log on the head, or the container autoscaler of its pod)."
    )
