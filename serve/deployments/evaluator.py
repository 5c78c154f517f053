"""Evaluator deployment: measures image sets and finds nearest training images, on CPUs.

An evaluation is a record in the service's state. ``run`` starts it, sends heartbeats and stores its outcome. If a
runner fails, no outcome is stored, and the next status request starts another runner.
"""

import asyncio
import contextlib
import itertools
import logging
import uuid
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.backend import Neighbour
from serve.deployments.batch_generation import generate_images
from serve.deployments.image_decoding import decode_square
from serve.deployments.retrying_handle import RetryingHandle
from serve.errors import ApiError, unknown_model
from serve.evaluations.evaluation_store import EvaluationDeletedError, EvaluationStore, EvaluationTask
from serve.settings import ModelSettings, ServiceSettings
from vapray.errors import VaprayError
from vapray.evaluation.service.neighbours import TrainingNeighbours, real_thumbnail
from vapray.evaluation.service.real_images import RealImages, find_real_images
from vapray.evaluation.service.reference import ReferenceStatistics
from vapray.evaluation.service.set_measurement import SetMeasurement
from vapray.sampling.checkpoint_loading import read_metadata
from vapray.sampling.generated import SamplingSettings

__all__ = ["EvaluatorReplica", "has_reference"]

HEARTBEAT_SECONDS = 5.0
MAX_CONCURRENT = 2
"""Evaluations measured at a time; others wait and send heartbeats."""
CHUNK = 32
"""Images decoded and measured at a time."""

Pixels = NDArray[np.uint8]

LOG = logging.getLogger(__name__)


def has_reference(model: ModelSettings) -> bool:
    """Check that the real images of a model are available; reads manifests only.

    Raises:
        DataError: ``run`` is set, but the run has none of the model's classes.
        CheckpointError: The checkpoint cannot be read.
    """
    return find_real_images(model.checkpoint, read_metadata(model.checkpoint).class_names, model.run) is not None


@dataclass(frozen=True)
class _Reference:
    """Real images of a model and their statistics."""

    real: RealImages
    statistics: ReferenceStatistics

    @cached_property
    def neighbours(self) -> TrainingNeighbours:
        """Index of the training images."""
        return TrainingNeighbours(self.statistics, self.real)

    def nearest(self, pixels: Pixels, k: int) -> list[Neighbour]:
        side = self.statistics.image_size
        return [
            Neighbour(near.class_name, near.distance, real_thumbnail(near.path, side))
            for near in self.neighbours.nearest(pixels, k)
        ]


@dataclass
class _Attempt:
    """One run of an evaluation."""

    id: str
    task: EvaluationTask
    runner: str
    done: int = 0


class EvaluatorReplica:
    """Replica of the evaluator.

    Args:
        service: Settings of the service.
        samplers: Sampler handle of each model; ``generate.remote(ImageJob)`` returns an ``ImageResult``.
        heartbeat_seconds: Seconds between heartbeats.
    """

    def __init__(
        self, service: ServiceSettings, samplers: Mapping[str, Any], heartbeat_seconds: float = HEARTBEAT_SECONDS
    ) -> None:
        self._state_dir, self._heartbeat_seconds = service.state_dir, heartbeat_seconds
        self._samplers = {name: RetryingHandle(handle, name) for name, handle in samplers.items()}
        self._store = EvaluationStore(service.state_dir, keep=service.evaluation_limits)
        self._store.delete_expired()
        self._models = {model.name: model for model in service.models}
        self._references: dict[str, asyncio.Task[_Reference]] = {}
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)

    async def check_health(self) -> None:
        """Report health: a replica that responds is healthy."""

    async def run(self, id: str) -> None:
        """Run an evaluation and store its outcome, unless another runner is at work or it is deleted meanwhile."""
        runner = uuid.uuid4().hex
        task = await asyncio.to_thread(self._store.start, id, runner)
        if task is None:
            return
        attempt = _Attempt(id, task, runner)
        heartbeats = asyncio.create_task(self._send_heartbeats(attempt))
        work = asyncio.create_task(self._outcome_in_turn(attempt))
        try:
            await asyncio.wait([heartbeats, work], return_when=asyncio.FIRST_COMPLETED)
        finally:
            heartbeats.cancel()
            work.cancel()
            await asyncio.wait([heartbeats, work])
        if not work.cancelled() and (outcome := work.result()):
            await asyncio.to_thread(self._store.finish, id, **outcome)

    async def neighbours(self, model: str, image: bytes, k: int) -> list[Neighbour]:
        """Find at most ``k`` nearest training images, nearest first.

        Raises:
            ApiError: 400, the image cannot be decoded; 404, unknown model, or its real images are not available.
        """
        reference = await self._reference(model)
        pixels = await asyncio.to_thread(decode_square, image, reference.statistics.image_size)
        try:
            return await asyncio.to_thread(reference.nearest, pixels, k)
        except VaprayError as error:
            LOG.error("Neighbours of %s failed: %s", model, error)
            raise _no_reference(model, "its training images cannot be read") from None

    async def _send_heartbeats(self, attempt: _Attempt) -> None:
        """Send heartbeats until the evaluation is deleted."""
        while True:
            await asyncio.sleep(self._heartbeat_seconds)
            try:
                await asyncio.to_thread(self._store.heartbeat, attempt.id, attempt.runner, attempt.done)
            except EvaluationDeletedError:
                return
            except Exception as error:  # a brief failure of the storage must not end the heartbeats
                LOG.warning("Evaluation %s: no heartbeat (%s)", attempt.id, type(error).__name__)

    async def _outcome_in_turn(self, attempt: _Attempt) -> dict[str, Any]:
        async with self._slots:
            return await self._outcome(attempt)

    async def _outcome(self, attempt: _Attempt) -> dict[str, Any]:
        """Measure the images; return ``results`` or ``error``, or nothing if another runner finished first."""
        try:
            return {"results": await self._results(attempt)}
        except _FinishedElsewhere:
            return {}
        except ApiError as error:
            return {"error": error.message}  # str(error) is a traceback if Ray raised it in another replica
        except Exception:  # the text may name files of the service
            LOG.exception("Evaluation %s failed", attempt.id)
            return {"error": "Internal error; see the service log. Send the evaluation again with another key."}

    async def _results(self, attempt: _Attempt) -> dict[str, Any]:
        task = attempt.task
        reference = (await self._reference(task.job.model)).statistics
        measurement = SetMeasurement(reference, "uploaded" if task.uploaded else "generated")
        chunks = self._uploaded(attempt, reference) if task.uploaded else self._generated(task, reference)
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                await asyncio.to_thread(measurement.add, chunk)
                attempt.done = measurement.count
        return await asyncio.to_thread(measurement.results)

    async def _uploaded(self, attempt: _Attempt, reference: ReferenceStatistics) -> AsyncGenerator[Pixels, None]:
        start, side = 0, reference.image_size
        try:
            # Not closed here: after a cancellation a thread may still be inside of it.
            images = await asyncio.to_thread(self._store.images, attempt.id)
            while chunk := await asyncio.to_thread(lambda: [*itertools.islice(images, CHUNK)]):
                yield await asyncio.to_thread(_stacked, chunk, side, start)
                start += len(chunk)
        except FileNotFoundError:
            raise _FinishedElsewhere from None

    async def _generated(self, task: EvaluationTask, reference: ReferenceStatistics) -> AsyncGenerator[Pixels, None]:
        sampler, defaults = self._samplers[task.job.model], SamplingSettings.from_config(reference.config)
        chunk: list[bytes] = []
        results = generate_images(sampler, task.job, defaults, reference.label_prior)
        async with contextlib.aclosing(results):
            async for result in results:
                chunk.append(result.png)
                if len(chunk) == CHUNK:
                    yield await asyncio.to_thread(_stacked, chunk, reference.image_size)
                    chunk = []
        if chunk:
            yield await asyncio.to_thread(_stacked, chunk, reference.image_size)

    async def _reference(self, name: str) -> _Reference:
        model, loading = self._models.get(name), self._references.get(name)
        if model is None:
            raise unknown_model(self._models)
        if loading is None or (loading.done() and loading.exception()):
            loading = asyncio.create_task(asyncio.to_thread(_load, model, self._state_dir))
            self._references[name] = loading
        return await asyncio.shield(loading)  # a cancelled request does not cancel the loading


class _FinishedElsewhere(Exception):
    """Signal that another runner stored the outcome and removed the uploaded images."""


def _no_reference(model: str, reason: str) -> ApiError:
    return ApiError(404, f"No real images are available for {model}: {reason}.", "no_reference", "model")


def _load(model: ModelSettings, state_dir: str) -> _Reference:
    try:
        card = read_metadata(model.checkpoint)
        real = find_real_images(model.checkpoint, card.class_names, model.run)
        if real is None:
            raise _no_reference(model.name, "the run of its checkpoint was not found")
        return _Reference(real, ReferenceStatistics.load(real, card.config, state_dir, LOG.warning))
    except VaprayError as error:
        LOG.error("Loading the reference of %s failed: %s", model.name, error)
        raise _no_reference(model.name, "they cannot be read; see the service log") from None


def _stacked(images: list[bytes], side: int, first: int = 0) -> Pixels:
    return np.stack([decode_square(data, side, f"images[{first + i}]") for i, data in enumerate(images)])
