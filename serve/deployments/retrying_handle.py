"""Asking a deployment of Ray Serve until one of its replicas lives long enough to answer.

What is asked for here is a pure function of its order, so an order whose replica dies is sent again to another one, and
the client sees nothing but a delay.
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
    """Asks a deployment until a replica lives long enough to answer.

    Args:
        handle: of the deployment.
        name: of the model or the part, for messages and as the tag of metrics.
    """

    def __init__(self, handle: DeploymentHandle, name: str) -> None:
        self._handle, self._name = handle, name
        self._retries = Counter("vapray_replica_retries", "Orders sent again after a replica's death.", ("name",))
        self._retries.set_default_tags({"name": name})

    async def call(self, method: str, *arguments: Any, until: float) -> Any:
        """The answer of one replica.

        Args:
            method: of the replica.
            arguments: of it.
            until: Unix time after which nobody waits any more.

        Raises:
            ApiError: the replica's own; 429 where too much waits; 503 where no replica answers in time.
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
        """The answers of one replica, in order; after a death another one's, without those that were seen before."""
        seen = 0
        for attempt in itertools.count():
            responses = getattr(self._handle.options(stream=True), method).remote(*arguments)
            try:
                for place in itertools.count():
                    async with self._bounded(until):
                        answer = await anext(responses, None)
                    if answer is None:
                        return
                    if place >= seen:
                        seen += 1
                        yield answer
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
            said = f"{self._name} gave no answer in time: it is starting, or has too much to do."
            raise unavailable(said, RETRY_AFTER_S) from None
        except BackPressureError:
            raise overloaded(RETRY_AFTER_S) from None
        except DeploymentUnavailableError:
            raise unavailable(f"{self._name} could not be deployed.", RETRY_AFTER_S) from None

    async def _pause(self, attempt: int, error: Exception) -> None:
        if attempt == MAX_RETRIES:
            raise unavailable(f"The replicas of {self._name} keep dying.", RETRY_AFTER_S) from error
        self._retries.inc()
        await asyncio.sleep(FIRST_PAUSE_S * 2**attempt)


def _cancel(response: DeploymentResponse | DeploymentResponseGenerator) -> None:
    """End the work on what nobody waits for any more; of a failed response Serve raises the failure again."""
    with contextlib.suppress(Exception):
        response.cancel()
