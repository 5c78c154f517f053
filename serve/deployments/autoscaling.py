"""How many sampler replicas there should be: as many as the network rows that wait ask for.

Requests are a poor measure: one of 4 steps without guidance is 4 rows, one of 250 steps with guidance is 500.
"""

from typing import Any

from ray.serve.config import AutoscalingConfig, AutoscalingContext, AutoscalingPolicy

from serve.settings import ReplicaSettings

__all__ = ["PENDING_ROWS", "PendingRows", "by_pending_rows", "by_requests"]

PENDING_ROWS = "pending_rows"
"""What replicas report."""


class PendingRows:
    """Serve's policy; delays, bounds and the first replica after none are Serve's own matter.

    Args:
        target: rows for each replica.
    """

    def __init__(self, target: int) -> None:
        self._target = target

    def __call__(self, context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
        """Replicas wanted; at least one as long as anybody waits."""
        reported = (context.aggregated_metrics or {}).get(PENDING_ROWS, {})
        wanted = sum(reported.values()) / self._target
        return max(wanted, float(context.total_num_requests > 0)), {}


def by_pending_rows(replicas: ReplicaSettings, target: int) -> AutoscalingConfig:
    """For samplers."""
    policy = AutoscalingPolicy(policy_function=f"{__name__}:PendingRows", policy_kwargs={"target": target})
    return AutoscalingConfig(**_bounds(replicas), policy=policy)


def by_requests(replicas: ReplicaSettings, each: int) -> AutoscalingConfig:
    """For the rest: so many requests at once for each replica."""
    return AutoscalingConfig(**_bounds(replicas), target_ongoing_requests=each)


def _bounds(replicas: ReplicaSettings) -> dict[str, Any]:
    return {
        "min_replicas": replicas.min,
        # One even where none need stay: what was never up is not known to work.
        "initial_replicas": max(1, replicas.min),
        "max_replicas": replicas.max,
        "upscale_delay_s": replicas.upscale_delay_s,
        "downscale_delay_s": replicas.downscale_delay_s,
        "look_back_period_s": 15,
    }
