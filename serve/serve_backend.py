"""Backend that calls Ray Serve deployments."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from ray.serve.handle import DeploymentHandle
from ray.util.metrics import Histogram

from serve.backend import (
    BankEntryInfo,
    CaptionResult,
    DistanceResult,
    Evaluation,
    EvaluationJob,
    ImageJob,
    ImageResult,
    ModelInfo,
    Neighbour,
    PartialImage,
)
from serve.deployments.deployment_health import DeploymentHealth
from serve.deployments.node_metrics import exported_metrics
from serve.deployments.retrying_handle import RetryingHandle
from serve.errors import ApiError, no_captions, not_enabled
from serve.evaluations.evaluation_store import EvaluationStore
from serve.model_registry import ModelRegistry

__all__ = ["DeploymentHandles", "ServeBackend"]

LOG = logging.getLogger(__name__)

REPLICA_GRACE_S = 2.0
"""Seconds after the deadline of a job in which the replica can still report that it missed the deadline."""
CALL_TIMEOUT_S = 60.0
"""Timeout of calls without a deadline of their own."""
EVALUATION_TIMEOUT_S = 86_400.0


@dataclass(frozen=True)
class DeploymentHandles:
    """Handles of the deployments."""

    samplers: dict[str, DeploymentHandle]
    """Sampler of each model."""
    captioners: dict[str, DeploymentHandle]
    """Captioner of each model; empty if the service has none."""
    evaluator: DeploymentHandle | None = None


class ServeBackend:
    """Implementation of ``Backend`` over Ray Serve.

    Args:
        registry: Models of the service.
        handles: Handles of the deployments.
        store: Evaluation records.
        health: Health of the deployments.
    """

    def __init__(
        self, registry: ModelRegistry, handles: DeploymentHandles, store: EvaluationStore, health: DeploymentHealth
    ) -> None:
        self._registry, self._store, self._health = registry, store, health
        self._samplers = {name: RetryingHandle(handle, name) for name, handle in handles.samplers.items()}
        self._captioners = {name: RetryingHandle(handle, "captioner") for name, handle in handles.captioners.items()}
        self._evaluator = RetryingHandle(handles.evaluator, "evaluator") if handles.evaluator else None
        self._runs: set[asyncio.Task[None]] = set()
        self._seconds = Histogram(
            "vapray_image_seconds",
            "Seconds from the request of an image to its result.",
            [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 300],
            ("model",),
        )

    async def models(self) -> list[ModelInfo]:
        """See ``Backend``."""
        return self._registry.describe()

    async def ready(self) -> dict[str, bool]:
        """See ``Backend``."""
        return await self._health.check(self._samplers)

    async def image(self, job: ImageJob) -> ImageResult:
        """See ``Backend``."""
        start = time.perf_counter()
        result: ImageResult = await self._sampler(job.model).call("generate", job, until=_timeout(job))
        self._seconds.observe(time.perf_counter() - start, {"model": job.model})
        return result

    async def image_stream(self, job: ImageJob) -> AsyncGenerator[PartialImage | ImageResult, None]:
        """See ``Backend``."""
        start = time.perf_counter()
        stream = self._sampler(job.model).stream("stream", job, until=_timeout(job))
        async with contextlib.aclosing(stream) as items:
            async for item in items:
                yield item
        self._seconds.observe(time.perf_counter() - start, {"model": job.model})

    async def bank(self, model: str, label: int, offset: int, limit: int) -> tuple[list[BankEntryInfo], int]:
        """See ``Backend``."""
        registered = self._registry[model]
        entries = registered.bank.entries(label) if label in registered.bank.labels else ()
        return [registered.describe_entry(entry) for entry in entries[offset : offset + limit]], len(entries)

    async def draw(self, model: str, label: int, seed: int) -> BankEntryInfo:
        """See ``Backend``."""
        registered = self._registry[model]
        if label not in registered.bank.labels:
            raise no_captions()
        return registered.describe_entry(registered.bank.draw(label, seed)[0])

    async def distance(self, model: str, label: int, caption: str) -> DistanceResult:
        """See ``Backend``."""
        until = time.time() + CALL_TIMEOUT_S
        result: DistanceResult = await self._sampler(model).call("distance", label, caption, until=until)
        return result

    async def neighbours(self, model: str, image: bytes, k: int) -> list[Neighbour]:
        """See ``Backend``."""
        evaluator, name = self._require_evaluator(), self._registry[model].settings.name
        until = time.time() + CALL_TIMEOUT_S
        result: list[Neighbour] = await evaluator.call("neighbours", name, image, k, until=until)
        return result

    async def caption(self, model: str, image: bytes) -> CaptionResult:
        """See ``Backend``."""
        captioner = self._captioners.get(self._registry[model].settings.name)
        if captioner is None:
            raise not_enabled("captioner")
        result: CaptionResult = await captioner.call("caption", image, until=time.time() + CALL_TIMEOUT_S)
        return result

    async def submit_evaluation(self, job: EvaluationJob, owner: str, idempotency_key: str | None) -> Evaluation:
        """See ``Backend``."""
        self._require_evaluator()
        if not self._registry.has_reference(self._registry[job.model].settings.name):
            raise ApiError(404, "No real images are available for this model.", "no_reference", "model")
        created = await asyncio.to_thread(self._store.create, job, owner, idempotency_key)
        return await self._ensure_runner(created)

    async def evaluation(self, id: str, owner: str) -> Evaluation:
        """See ``Backend``."""
        return await self._ensure_runner(await asyncio.to_thread(self._store.get, id, owner))

    async def delete_evaluation(self, id: str, owner: str) -> None:
        """See ``Backend``."""
        await asyncio.to_thread(self._store.delete, id, owner)

    async def evaluations(self, owner: str) -> Sequence[Evaluation]:
        """See ``Backend``."""
        return [await self._ensure_runner(one) for one in await asyncio.to_thread(self._store.list_for_owner, owner)]

    async def _ensure_runner(self, evaluation: Evaluation) -> Evaluation:
        """Start a runner if the evaluation is unfinished and has no live one; return the evaluation."""
        is_open = evaluation.status in ("queued", "running")
        if self._evaluator and is_open and await asyncio.to_thread(self._store.dispatch, evaluation.id):
            call = self._evaluator.call("run", evaluation.id, until=time.time() + EVALUATION_TIMEOUT_S)
            run = asyncio.create_task(call, name=evaluation.id)
            self._runs.add(run)
            run.add_done_callback(self._end_run)
        return evaluation

    def _end_run(self, run: asyncio.Task[None]) -> None:
        self._runs.discard(run)
        if not run.cancelled() and (error := run.exception()):  # the next status request starts another runner
            LOG.error("Evaluation %s: runner failed with %s", run.get_name(), type(error).__name__)

    async def metrics(self) -> str:
        """See ``Backend``."""
        return await asyncio.to_thread(exported_metrics)

    def _sampler(self, model: str) -> RetryingHandle:
        return self._samplers[self._registry[model].settings.name]

    def _require_evaluator(self) -> RetryingHandle:
        if self._evaluator is None:
            raise not_enabled("evaluator")
        return self._evaluator


def _timeout(job: ImageJob) -> float:
    return time.time() + CALL_TIMEOUT_S if job.deadline is None else job.deadline + REPLICA_GRACE_S
