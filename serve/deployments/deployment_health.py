"""Deployment health from Ray Serve's controller; a check starts no replica."""

import asyncio
import time
from collections.abc import Iterable

from ray import serve
from ray.serve.schema import ApplicationStatusOverview, ReplicaState

__all__ = ["DeploymentHealth", "deployment_of"]

READY_STATES = ("HEALTHY", "UPSCALING", "DOWNSCALING")
"""States after all initial replicas have generated an image; they also hold at zero replicas."""
CACHE_SECONDS = 1.0


def deployment_of(model: str) -> str:
    """Name the deployment of a model's sampler."""
    return f"sampler-{model}"


class DeploymentHealth:
    """Health of the samplers; queries the controller at most once a second.

    Args:
        application: Name of the application in Ray Serve.
    """

    def __init__(self, application: str) -> None:
        self._application = application
        self._updated = -CACHE_SECONDS
        self._status: ApplicationStatusOverview | None = None
        self._lock = asyncio.Lock()

    async def check(self, models: Iterable[str]) -> dict[str, bool]:
        """Check for each model that its deployment has generated an image."""
        async with self._lock:
            if time.monotonic() - self._updated >= CACHE_SECONDS:
                self._status = (await asyncio.to_thread(serve.status)).applications.get(self._application)
                self._updated = time.monotonic()
        return {model: self._is_ready(deployment_of(model)) for model in models}

    def _is_ready(self, name: str) -> bool:
        status = self._status.deployments.get(name) if self._status else None
        if status is None:
            return False
        return status.status in READY_STATES or status.replica_states.get(ReplicaState.RUNNING, 0) > 0
