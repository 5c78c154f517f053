"""Evaluations and nearest training pictures; needs no GPU.

An evaluation is a record in the service's state. ``run`` takes it up, shows signs of life, and leaves its outcome; a
runner that dies leaves none, and whoever next asks for the evaluation has another one take it up.
"""

import asyncio
import contextlib
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
from serve.errors import ApiError
from serve.evaluations.evaluation_store import EvaluationStore, EvaluationTask
from serve.settings import ModelSettings, ServiceSettings
from vapray.errors import VaprayError
from vapray.evaluation.service.neighbours import TrainingNeighbours, real_thumbnail
from vapray.evaluation.service.real_pictures import RealPictures, find_real_pictures
from vapray.evaluation.service.reference import ReferenceStatistics
from vapray.evaluation.service.set_measurement import SetMeasurement
from vapray.sampling.generated import SamplingSettings
from vapray.sampling.opening import read_card

__all__ = ["EvaluatorReplica", "has_reference"]

HEARTBEAT_SECONDS = 5.0
MAX_CONCURRENT = 2
"""Evaluations that are measured at a time; others wait, alive."""
CHUNK = 32
"""Pictures decoded and measured at a time."""

Frames = NDArray[np.uint8]

log = logging.getLogger(__name__)


def has_reference(model: ModelSettings) -> bool:
    """Whether real pictures are at hand for a model; reads manifests alone.

    Raises:
        DataError: ``run`` is given and has none of the model's classes.
        CheckpointError: the checkpoint cannot be read.
    """
    return find_real_pictures(model.checkpoint, read_card(model.checkpoint).class_names, model.run) is not None


@dataclass(frozen=True)
class _Reference:
    """What is loaded of one model."""

    real: RealPictures
    statistics: ReferenceStatistics

    @cached_property
    def neighbours(self) -> TrainingNeighbours:
        """Looked up among the training pictures."""
        return TrainingNeighbours(self.statistics, self.real)


@dataclass
class _Attempt:
    """One run of one evaluation."""

    id: str
    task: EvaluationTask
    runner: str
    done: int = 0


@dataclass
class _Opened:
    model: ModelSettings
    loading: asyncio.Task[_Reference] | None = None


class EvaluatorReplica:
    """A replica.

    Args:
        service: models, state.
        samplers: by model, handles whose ``generate.remote(ImageJob)`` gives a ``ImageResult``.
        heartbeat_seconds: between signs of life.
    """

    def __init__(
        self, service: ServiceSettings, samplers: Mapping[str, Any], heartbeat_seconds: float = HEARTBEAT_SECONDS
    ) -> None:
        self._state, self._heartbeat_seconds = service.state_dir, heartbeat_seconds
        self._samplers = {name: RetryingHandle(handle, name) for name, handle in samplers.items()}
        self._store = EvaluationStore(service.state_dir)
        self._store.delete_expired()
        self._opened = {model.name: _Opened(model) for model in service.models}
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)

    async def check_health(self) -> None:
        """A replica that answers is well."""

    async def run(self, id: str) -> None:
        """Measure what a record asks for and leave the outcome there; nothing where another runner is at it."""
        runner = uuid.uuid4().hex
        task = await asyncio.to_thread(self._store.start, id, runner)
        if task is None:
            return
        attempt = _Attempt(id, task, runner)
        heart = asyncio.create_task(self._send_heartbeats(attempt))
        try:
            async with self._slots:
                outcome = await self._outcome(attempt)
        finally:
            heart.cancel()
            await asyncio.wait([heart])
        if outcome:
            await asyncio.to_thread(self._store.finish, id, **outcome)

    async def neighbours(self, model: str, image: bytes, k: int) -> list[Neighbour]:
        """At most ``k`` nearest training pictures, the nearest first.

        Raises:
            ApiError: 400, a picture that cannot be decoded; 404, no real pictures at hand, or no such model.
        """
        reference = await self._reference(model)
        side = reference.statistics.image_size
        frame = await asyncio.to_thread(decode_square, image, side)
        try:
            return await asyncio.to_thread(_neighbours_of, reference, frame, k)
        except VaprayError as error:
            log.error("neighbours of %s: %s", model, error)
            raise _no_reference(model, "its training pictures cannot be read") from None

    async def _send_heartbeats(self, attempt: _Attempt) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_seconds)
            with contextlib.suppress(Exception):  # a store that fails for a moment must not end the heart
                await asyncio.to_thread(self._store.heartbeat, attempt.id, attempt.runner, attempt.done)

    async def _outcome(self, attempt: _Attempt) -> dict[str, Any]:
        """``results`` or ``error``; nothing where another runner ended first."""
        try:
            return {"results": await self._results(attempt)}
        except _EndedByAnother:
            return {}
        except ApiError as error:
            return {"error": error.message}  # str(error) is a traceback where Ray brought it from another replica
        except Exception:  # its text may name files of the service
            log.exception("evaluation %s", attempt.id)
            return {"error": "The service failed; its log says why. Send the evaluation again with another key."}

    async def _results(self, attempt: _Attempt) -> dict[str, Any]:
        task = attempt.task
        reference = (await self._reference(task.job.model)).statistics
        measurement = SetMeasurement(reference, "uploaded" if task.uploaded else "generated")
        frames = self._uploaded(attempt, reference) if task.uploaded else self._generated(task, reference)
        async with contextlib.aclosing(frames):
            async for chunk in frames:
                await asyncio.to_thread(measurement.add, chunk)
                attempt.done = measurement.count
        return await asyncio.to_thread(measurement.results)

    async def _uploaded(self, attempt: _Attempt, reference: ReferenceStatistics) -> AsyncGenerator[Frames, None]:
        pictures = await asyncio.to_thread(self._store.images, attempt.id)
        if pictures is None:
            raise _EndedByAnother
        for start in range(0, len(pictures), CHUNK):
            yield await asyncio.to_thread(_stacked, pictures[start : start + CHUNK], reference.image_size, start)

    async def _generated(self, task: EvaluationTask, reference: ReferenceStatistics) -> AsyncGenerator[Frames, None]:
        job, defaults = task.job, SamplingSettings.of(reference.config)
        chunk: list[bytes] = []
        async with contextlib.aclosing(
            generate_images(self._samplers[job.model], job, defaults, reference.label_prior)
        ) as pictures:
            async for made in pictures:
                chunk.append(made.png)
                if len(chunk) == CHUNK:
                    yield await asyncio.to_thread(_stacked, chunk, reference.image_size)
                    chunk = []
        if chunk:
            yield await asyncio.to_thread(_stacked, chunk, reference.image_size)

    async def _reference(self, model: str) -> _Reference:
        opened = self._opened.get(model)
        if opened is None:
            raise ApiError(404, f"There is no model {model}. GET /v1/models lists them.", "unknown_model", "model")
        if opened.loading is None or (opened.loading.done() and opened.loading.exception()):
            opened.loading = asyncio.create_task(asyncio.to_thread(_load, opened.model, self._state))
        return await asyncio.shield(opened.loading)  # whoever leaves does not take it along


class _EndedByAnother(Exception):
    """Another runner has left an outcome and removed the uploaded pictures."""


def _no_reference(model: str, why: str) -> ApiError:
    return ApiError(404, f"{model} has no real pictures to compare with: {why}.", "no_reference", "model")


def _load(model: ModelSettings, state: str) -> _Reference:
    try:
        card = read_card(model.checkpoint)
        real = find_real_pictures(model.checkpoint, card.class_names, model.run)
        if real is None:
            raise _no_reference(model.name, "the run of its checkpoint is not at hand")
        return _Reference(real, ReferenceStatistics.load(real, card.config, state, log.warning))
    except VaprayError as error:
        log.error("reference of %s: %s", model.name, error)
        raise _no_reference(model.name, "they cannot be read; the log of the service says why") from None


def _neighbours_of(reference: _Reference, frame: Frames, k: int) -> list[Neighbour]:
    return [
        Neighbour(near.class_name, near.distance, real_thumbnail(near.path, reference.statistics.image_size))
        for near in reference.neighbours.nearest(frame, k)
    ]


def _stacked(pictures: list[bytes], side: int, first: int = 0) -> Frames:
    return np.stack([decode_square(data, side, f"images[{first + i}]") for i, data in enumerate(pictures)])
