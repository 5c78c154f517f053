"""Deployment handle that retries calls whose replica fails.

A result depends on its job alone, so a job whose replica fails runs again on another one. The client sees a delay.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, WorkerCrashedError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle, DeploymentResponse, DeploymentResponseGenerator
from ray.util.metrics import Counter

from serve.errors import overloaded, unavailable
from vapray.errors import EngineDied

__all__ = ["RetryingHandle"]

MAX_RETRIES = 6
FIRST_PAUSE_S = 0.1
RETRY_AFTER_S = 2.0
REPLICA_ERRORS = (RayActorError, NodeDiedError, ObjectLostError, WorkerCrashedError, EngineDied)


class RetryingHandle:
    """Handle of a deployment with retries after replica failures.

    Args:
        handle: Handle in Ray Serve.
        name: Model or deployment, for messages and as a tag of metrics.
    """

    def __init__(self, handle: DeploymentHandle, name: str) -> None:
        self._handle, self._name = handle, name
        self._retries = Counter("vapray_replica_retries", "Calls retried after a replica failure.", ("name",))
        self._retries.set_default_tags({"name": name})

    async def call(self, method: str, *arguments: Any, until: float) -> Any:
        """Call a method of one replica.

        Args:
            method: Name of the method.
            arguments: Arguments of the method.
            until: Unix time of the timeout.

        Raises:
            ApiError: Raised by the replica; 429 if the queue is full; 503 if no replica responds in time.
        """
        for attempt in itertools.count():
            response = getattr(self._handle, method).remote(*arguments)
            try:
                async with self._bounded(until):
                    return await response
            except REPLICA_ERRORS as error:
                await self._pause(attempt, error)
            except BaseException:
                _cancel(response)
                raise
        raise AssertionError("unreachable")

    async def stream(self, method: str, *arguments: Any, until: float) -> AsyncGenerator[Any, None]:
        """Yield the items of one replica; after its failure another one continues with the next item."""
        seen = 0
        for attempt in itertools.count():
            responses = getattr(self._handle.options(stream=True), method).remote(*arguments)
            try:
                for index in itertools.count():
                    async with self._bounded(until):
                        item = await anext(responses, None)
                    if item is None:
                        return
                    if index >= seen:
                        seen += 1
                        yield item
            except REPLICA_ERRORS as error:
                await self._pause(attempt, error)
            except BaseException:
                _cancel(responses)
                raise

    @contextlib.asynccontextmanager
    async def _bounded(self, until: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(max(0.0, until - time.time())):
                yield
        except TimeoutError:
            raise unavailable(f"{self._name} did not respond in time: starting or overloaded.", RETRY_AFTER_S) from None
        except BackPressureError:
            raise overloaded(RETRY_AFTER_S) from None
        except DeploymentUnavailableError:
            raise unavailable(f"{self._name} could not be deployed.", RETRY_AFTER_S) from None

    async def _pause(self, attempt: int, error: Exception) -> None:
        if attempt == MAX_RETRIES:
            raise unavailable(f"The replicas of {self._name} keep failing.", RETRY_AFTER_S) from error
        self._retries.inc()
        await asyncio.sleep(FIRST_PAUSE_S * 2**attempt)


def _cancel(response: DeploymentResponse | DeploymentResponseGenerator) -> None:
    """Cancel the work on a response; Ray Serve raises the failure of a failed response again."""
    with contextlib.suppress(Exception):
        response.cancel()
