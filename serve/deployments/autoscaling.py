"""Autoscaling policies; samplers scale with their pending network rows.

The number of requests is a poor measure of load: one image of 4 steps without guidance takes 4 rows, one of 250 steps
with guidance takes 500.
"""

from typing import Any

from ray.serve.config import AutoscalingConfig, AutoscalingContext, AutoscalingPolicy

from serve.settings import ReplicaSettings

__all__ = ["PENDING_ROWS", "PendingRows", "by_pending_rows", "by_requests"]

PENDING_ROWS = "pending_rows"
"""Metric that sampler replicas report."""


class PendingRows:
    """Ray Serve policy; Serve itself applies delays and bounds.

    Args:
        target: Pending rows per replica.
    """

    def __init__(self, target: int) -> None:
        self._target = target

    def __call__(self, context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
        """Compute the number of replicas; at least one while requests are waiting."""
        reported = (context.aggregated_metrics or {}).get(PENDING_ROWS, {})
        replicas = sum(reported.values()) / self._target
        return max(replicas, float(context.total_num_requests > 0)), {}


def by_pending_rows(replicas: ReplicaSettings, target: int) -> AutoscalingConfig:
    """Scale by pending network rows per replica."""
    policy = AutoscalingPolicy(policy_function=f"{__name__}:PendingRows", policy_kwargs={"target": target})
    return AutoscalingConfig(**_bounds(replicas), policy=policy)


def by_requests(replicas: ReplicaSettings, each: int) -> AutoscalingConfig:
    """Scale by concurrent requests per replica."""
    return AutoscalingConfig(**_bounds(replicas), target_ongoing_requests=each)


def _bounds(replicas: ReplicaSettings) -> dict[str, Any]:
    return {
        "min_replicas": replicas.min,
        # Start one replica even if none has to stay, to show that it works.
        "initial_replicas": max(1, replicas.min),
        "max_replicas": replicas.max,
        "upscale_delay_s": replicas.upscale_delay_s,
        "downscale_delay_s": replicas.downscale_delay_s,
        "look_back_period_s": 15,
    }
