"""Which deployments work, as Serve's controller knows it; nobody is woken by asking."""

import asyncio
import time
from collections.abc import Iterable

from ray import serve
from ray.serve.schema import ApplicationStatusOverview, ReplicaState

__all__ = ["DeploymentHealth", "deployment_of"]

READY_STATES = ("HEALTHY", "UPSCALING", "DOWNSCALING")
"""A deployment gets there when the replicas that it began with have each made a picture, and stays there at zero."""
SECONDS = 1.0


def deployment_of(model: str) -> str:
    """Name of the deployment that a model is."""
    return f"sampler-{model}"


class DeploymentHealth:
    """Asks the controller at most once a second.

    Args:
        application: name in Serve.
    """

    def __init__(self, application: str) -> None:
        self._application = application
        self._asked = -SECONDS
        self._seen: ApplicationStatusOverview | None = None
        self._asking = asyncio.Lock()

    async def check(self, models: Iterable[str]) -> dict[str, bool]:
        """Whether each model's deployment has made a picture since it was deployed."""
        async with self._asking:
            if time.monotonic() - self._asked >= SECONDS:
                self._seen = (await asyncio.to_thread(serve.status)).applications.get(self._application)
                self._asked = time.monotonic()
        return {model: self._is_proven(deployment_of(model)) for model in models}

    def _is_proven(self, deployment: str) -> bool:
        seen = self._seen.deployments.get(deployment) if self._seen else None
        return seen is not None and (
            seen.status in READY_STATES or seen.replica_states.get(ReplicaState.RUNNING, 0) > 0
        )
