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
    BankCaption,
    Description,
    Distance,
    Evaluation,
    EvaluationOrder,
    ImageOrder,
    MadeImage,
    ModelCard,
    Neighbour,
    PartialImage,
)
from serve.deployments.deployment_health import Health
from serve.deployments.node_metrics import exported_metrics
from serve.deployments.retrying_handle import Resender
from serve.errors import ApiError, no_captions
from serve.evaluations.evaluation_store import EvaluationRecords
from serve.model_registry import Catalogue

__all__ = ["Gateway", "Handles"]

LOG = logging.getLogger(__name__)

LATE_S = 2.0
"""How long after its deadline an order may still be answered by the replica, which has it end as overdue itself."""
ANSWER_S = 60.0
"""For what is no picture and has no deadline of its own."""
EVALUATION_S = 86_400.0


@dataclass(frozen=True)
class Handles:
    """Of the deployments."""

    samplers: dict[str, DeploymentHandle]
    """By model."""
    captioners: dict[str, DeploymentHandle]
    """By model; none where pictures are not described."""
    evaluator: DeploymentHandle | None = None


class Gateway:
    """Answers ``Backend``.

    Args:
        catalogue: of the models.
        handles: of the deployments.
        records: of evaluations.
        health: of the deployments.
    """

    def __init__(self, catalogue: Catalogue, handles: Handles, records: EvaluationRecords, health: Health) -> None:
        self._catalogue, self._records, self._health = catalogue, records, health
        self._samplers = {name: Resender(handle, name) for name, handle in handles.samplers.items()}
        self._captioners = {name: Resender(handle, "captioner") for name, handle in handles.captioners.items()}
        self._evaluator = Resender(handles.evaluator, "evaluator") if handles.evaluator else None
        self._runs: set[asyncio.Task[None]] = set()
        self._seconds = Histogram(
            "vapray_picture_seconds",
            "From the order of a picture to its answer.",
            [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 300],
            ("model",),
        )

    async def models(self) -> list[ModelCard]:
        """See ``Backend``."""
        return self._catalogue.cards()

    async def ready(self) -> dict[str, bool]:
        """See ``Backend``."""
        return await self._health.of(self._samplers)

    async def image(self, order: ImageOrder) -> MadeImage:
        """See ``Backend``."""
        began = time.perf_counter()
        made: MadeImage = await self._sampler(order).ask("make", order, until=_end(order))
        self._seconds.observe(time.perf_counter() - began, {"model": order.model})
        return made

    async def image_stream(self, order: ImageOrder) -> AsyncGenerator[PartialImage | MadeImage, None]:
        """See ``Backend``."""
        began = time.perf_counter()
        async with contextlib.aclosing(self._sampler(order).stream("stream", order, until=_end(order))) as parts:
            async for part in parts:
                yield part
        self._seconds.observe(time.perf_counter() - began, {"model": order.model})

    async def bank(self, model: str, label: int, offset: int, limit: int) -> tuple[list[BankCaption], int]:
        """See ``Backend``."""
        known = self._catalogue[model]
        entries = known.bank.entries(label) if label in known.bank.labels else ()
        return [known.caption(entry) for entry in entries[offset : offset + limit]], len(entries)

    async def draw(self, model: str, label: int, seed: int) -> BankCaption:
        """See ``Backend``."""
        known = self._catalogue[model]
        if label not in known.bank.labels:
            raise no_captions()
        return known.caption(known.bank.draw(label, seed)[0])

    async def distance(self, model: str, label: int, caption: str) -> Distance:
        """See ``Backend``."""
        found: Distance = await self._samplers[self._catalogue[model].model.name].ask(
            "distance", label, caption, until=time.time() + ANSWER_S
        )
        return found

    async def neighbours(self, model: str, image: bytes, k: int) -> list[Neighbour]:
        """See ``Backend``."""
        if self._evaluator is None:
            raise _not_enabled("The service has no evaluator", "evaluator")
        found: list[Neighbour] = await self._evaluator.ask(
            "neighbours", self._catalogue[model].model.name, image, k, until=time.time() + ANSWER_S
        )
        return found

    async def describe(self, model: str, image: bytes) -> Description:
        """See ``Backend``."""
        captioner = self._captioners.get(self._catalogue[model].model.name)
        if captioner is None:
            raise _not_enabled("The service has no captioner", "captioner")
        found: Description = await captioner.ask("describe", image, until=time.time() + ANSWER_S)
        return found

    async def submit_evaluation(self, order: EvaluationOrder, owner: str, idempotency_key: str | None) -> Evaluation:
        """See ``Backend``."""
        if self._evaluator is None:
            raise _not_enabled("The service has no evaluator", "evaluator")
        known = self._catalogue[order.model]
        if not self._catalogue.has_reference(known.model.name):
            raise ApiError(404, "This model has no real pictures at hand to compare with.", "no_reference", "model")
        taken = await asyncio.to_thread(self._records.create, order, owner, idempotency_key)
        return await self._seen_to(taken)

    async def evaluation(self, id: str, owner: str) -> Evaluation:
        """See ``Backend``."""
        return await self._seen_to(await asyncio.to_thread(self._records.get, id, owner))

    async def evaluations(self, owner: str) -> Sequence[Evaluation]:
        """See ``Backend``."""
        return [await self._seen_to(one) for one in await asyncio.to_thread(self._records.of_owner, owner)]

    async def _seen_to(self, evaluation: Evaluation) -> Evaluation:
        """The same, having called a runner where none shows a sign of life."""
        is_open = evaluation.status in ("queued", "running")
        if self._evaluator and is_open and await asyncio.to_thread(self._records.dispatch, evaluation.id):
            run = asyncio.create_task(
                self._evaluator.ask("run", evaluation.id, until=time.time() + EVALUATION_S), name=evaluation.id
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

    def _sampler(self, order: ImageOrder) -> Resender:
        return self._samplers[self._catalogue[order.model].model.name]


def _end(order: ImageOrder) -> float:
    return time.time() + ANSWER_S if order.deadline is None else order.deadline + LATE_S


def _not_enabled(what: str, setting: str) -> ApiError:
    return ApiError(404, f"{what}: whoever runs it can set {setting} in its config.", "not_enabled")
