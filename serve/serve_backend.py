"""The backend that asks Ray Serve's replicas."""

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
from serve.errors import ApiError, no_captions
from serve.evaluations.evaluation_store import EvaluationStore
from serve.model_registry import ModelRegistry

__all__ = ["DeploymentHandles", "ServeBackend"]

LOG = logging.getLogger(__name__)

REPLICA_GRACE_S = 2.0
"""How long after its deadline an order may still be answered by the replica, which has it end as overdue itself."""
CALL_TIMEOUT_S = 60.0
"""For what is no picture and has no deadline of its own."""
EVALUATION_TIMEOUT_S = 86_400.0


@dataclass(frozen=True)
class DeploymentHandles:
    """Of the deployments."""

    samplers: dict[str, DeploymentHandle]
    """By model."""
    captioners: dict[str, DeploymentHandle]
    """By model; none where pictures are not described."""
    evaluator: DeploymentHandle | None = None


class ServeBackend:
    """Answers ``Backend``.

    Args:
        catalogue: of the models.
        handles: of the deployments.
        records: of evaluations.
        health: of the deployments.
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
            "From the order of a picture to its answer.",
            [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 300],
            ("model",),
        )

    async def models(self) -> list[ModelInfo]:
        """See ``Backend``."""
        return self._registry.cards()

    async def ready(self) -> dict[str, bool]:
        """See ``Backend``."""
        return await self._health.check(self._samplers)

    async def image(self, job: ImageJob) -> ImageResult:
        """See ``Backend``."""
        began = time.perf_counter()
        made: ImageResult = await self._sampler(job).call("generate", job, until=_end(job))
        self._seconds.observe(time.perf_counter() - began, {"model": job.model})
        return made

    async def image_stream(self, job: ImageJob) -> AsyncGenerator[PartialImage | ImageResult, None]:
        """See ``Backend``."""
        began = time.perf_counter()
        async with contextlib.aclosing(self._sampler(job).stream("stream", job, until=_end(job))) as parts:
            async for part in parts:
                yield part
        self._seconds.observe(time.perf_counter() - began, {"model": job.model})

    async def bank(self, model: str, label: int, offset: int, limit: int) -> tuple[list[BankEntryInfo], int]:
        """See ``Backend``."""
        known = self._registry[model]
        entries = known.bank.entries(label) if label in known.bank.labels else ()
        return [known.caption(entry) for entry in entries[offset : offset + limit]], len(entries)

    async def draw(self, model: str, label: int, seed: int) -> BankEntryInfo:
        """See ``Backend``."""
        known = self._registry[model]
        if label not in known.bank.labels:
            raise no_captions()
        return known.caption(known.bank.draw(label, seed)[0])

    async def distance(self, model: str, label: int, caption: str) -> DistanceResult:
        """See ``Backend``."""
        found: DistanceResult = await self._samplers[self._registry[model].model.name].call(
            "distance", label, caption, until=time.time() + CALL_TIMEOUT_S
        )
        return found

    async def neighbours(self, model: str, image: bytes, k: int) -> list[Neighbour]:
        """See ``Backend``."""
        if self._evaluator is None:
            raise _not_enabled("The service has no evaluator", "evaluator")
        found: list[Neighbour] = await self._evaluator.call(
            "neighbours", self._registry[model].model.name, image, k, until=time.time() + CALL_TIMEOUT_S
        )
        return found

    async def caption(self, model: str, image: bytes) -> CaptionResult:
        """See ``Backend``."""
        captioner = self._captioners.get(self._registry[model].model.name)
        if captioner is None:
            raise _not_enabled("The service has no captioner", "captioner")
        found: CaptionResult = await captioner.call("caption", image, until=time.time() + CALL_TIMEOUT_S)
        return found

    async def submit_evaluation(self, job: EvaluationJob, owner: str, idempotency_key: str | None) -> Evaluation:
        """See ``Backend``."""
        if self._evaluator is None:
            raise _not_enabled("The service has no evaluator", "evaluator")
        known = self._registry[job.model]
        if not self._registry.has_reference(known.model.name):
            raise ApiError(404, "This model has no real pictures at hand to compare with.", "no_reference", "model")
        taken = await asyncio.to_thread(self._store.create, job, owner, idempotency_key)
        return await self._ensure_runner(taken)

    async def evaluation(self, id: str, owner: str) -> Evaluation:
        """See ``Backend``."""
        return await self._ensure_runner(await asyncio.to_thread(self._store.get, id, owner))

    async def evaluations(self, owner: str) -> Sequence[Evaluation]:
        """See ``Backend``."""
        return [await self._ensure_runner(one) for one in await asyncio.to_thread(self._store.list_for_owner, owner)]

    async def _ensure_runner(self, evaluation: Evaluation) -> Evaluation:
        """The same, having called a runner where none shows a sign of life."""
        is_open = evaluation.status in ("queued", "running")
        if self._evaluator and is_open and await asyncio.to_thread(self._store.dispatch, evaluation.id):
            run = asyncio.create_task(
                self._evaluator.call("run", evaluation.id, until=time.time() + EVALUATION_TIMEOUT_S), name=evaluation.id
            )
            self._runs.add(run)
            run.add_done_callback(self._forget)
        return evaluation

    def _forget(self, run: asyncio.Task[None]) -> None:
        self._runs.discard(run)
        if not run.cancelled() and (error := run.exception()):
            LOG.error("runner of %s: %s", run.get_name(), type(error).__name__)  # the next who asks calls another one

    async def metrics(self) -> str:
        """See ``Backend``."""
        return await asyncio.to_thread(exported_metrics)

    def _sampler(self, job: ImageJob) -> RetryingHandle:
        return self._samplers[self._registry[job.model].model.name]


def _end(job: ImageJob) -> float:
    return time.time() + CALL_TIMEOUT_S if job.deadline is None else job.deadline + REPLICA_GRACE_S


def _not_enabled(what: str, setting: str) -> ApiError:
    return ApiError(404, f"{what}: whoever runs it can set {setting} in its config.", "not_enabled")
