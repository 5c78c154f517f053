"""Whether nodes that are not there yet could hold what those that are there cannot: Ray's autoscaler is asked itself.

No driver is told which node types an autoscaler has. But version 2 of it (KubeRay's, or RAY_enable_autoscaler_v2=1 on
the head) looks at the demands of all drivers every few seconds, and leaves a note of those that no node type of it can
meet. So the demand is made, as a placement group, which brings the nodes too, and withdrawn once it has been looked at.
"""

import time
from typing import Any

from vapray.errors import BackendError
from vapray.placement import Demand

__all__ = ["autoscales", "could_be_added"]

ANSWER_SECONDS, SECONDS_BETWEEN_LOOKS = 60, 0.3


def autoscales() -> bool:
    """Whether this cluster's autoscaler is one that answers; every head runs one, if only to watch."""
    from ray.autoscaler.v2.utils import is_autoscaler_v2

    return is_autoscaler_v2(fetch_from_server=True)


def could_be_added(demand: Demand) -> bool:
    """Whether the autoscaler has node types, and may start enough of them, to meet a demand; has them started if so.

    Raises:
        BackendError: it does not answer.
    """
    from ray.util.placement_group import placement_group, remove_placement_group

    group = placement_group([dict(demand.bundle)] * demand.count)
    try:
        return _verdict(group, demand)
    finally:
        remove_placement_group(group)


def _verdict(group: Any, demand: Demand) -> bool:
    """As soon as the autoscaler has looked at a state of the cluster in which the group was waiting."""
    import ray
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply  # type: ignore[attr-defined]

    name, client = group.id.hex(), GcsClient(address=ray.get_runtime_context().gcs_address)
    deadline, asked_in = time.monotonic() + ANSWER_SECONDS, None
    while time.monotonic() < deadline:
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
