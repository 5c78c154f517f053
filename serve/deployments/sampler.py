"""Sampler deployment: one per model, with the step-level engine in a thread of each replica."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass, replace

from serve.backend import DistanceResult, ImageJob, ImageResult, PartialImage
from serve.class_names import class_named_in
from serve.deployments.autoscaling import PENDING_ROWS
from serve.deployments.sampler_metrics import SamplerMetrics
from serve.errors import ApiError, deadline_exceeded, no_captions
from serve.model_registry import RegisteredModel
from serve.settings import ModelSettings
from vapray.bank.bank_distance import BankDistances
from vapray.bank.prompt_bank import BankEntry
from vapray.config import Sample
from vapray.diffusion.image_request import ImageRequest
from vapray.errors import BackendError, ConfigError, DataError, EngineDeadError
from vapray.sampling.generated import SamplingSettings
from vapray.sampling.provenance import encode_png
from vapray.sampling.sampler import Sampler
from vapray.sampling.threaded_sampler import Pixels, PreviewImage, ThreadedSampler

__all__ = ["SamplerReplica"]

LOG = logging.getLogger(__name__)
MAX_CONSECUTIVE_FAILURES = 3
"""Failures in a row after which the process ends: a device in an error state stays in it until then."""


@dataclass(frozen=True)
class _ResolvedJob:
    """A job with its class, caption and text tokens."""

    request: ImageRequest
    label: int
    caption: str
    entry: BankEntry | None
    settings: SamplingSettings


class SamplerReplica:
    """Replica of a sampler; ready after its first image.

    Args:
        model: Settings of the model.
    """

    def __init__(self, model: ModelSettings) -> None:
        self._registered = RegisteredModel.read(model)
        self._sampler = Sampler.load(
            model.checkpoint,
            weights=model.weights,
            device=model.replicas.device,
            text_encoder=model.text_encoder,
            sample=_sample_section(self._registered, model),
        )
        self._live = ThreadedSampler(self._sampler, on_death=_end_process)
        self._distances = BankDistances(self._sampler.bank, self._sampler.encoder)
        self._failures = 0
        self._metrics = SamplerMetrics(self._live, model.name)
        self._warm_up()

    def _warm_up(self) -> None:
        """Generate an image, so that a broken replica never gets a request."""
        label = self._sampler.bank.labels[0]
        caption = self._sampler.bank.captions(label)[0]
        settings = replace(SamplingSettings.from_config(self._sampler.config), num_inference_steps=2)
        self._live.submit(self._sampler.requests([label], [caption], [0], settings)[0]).result()
        self._distances.nearest_label(caption)  # encodes the banks before the first request

    async def generate(self, job: ImageJob) -> ImageResult:
        """Generate an image."""
        work = await asyncio.to_thread(self._resolve, job)
        pixels = await self._wait(self._submit(work), job)
        return await asyncio.to_thread(self._result, work, pixels)

    async def stream(self, job: ImageJob) -> AsyncIterator[PartialImage | ImageResult]:
        """Generate an image and yield previews before it."""
        work = await asyncio.to_thread(self._resolve, job)
        steps = work.settings.num_inference_steps
        count = min(job.previews, steps - 1)
        preview_steps = [round(steps * (index + 1) / (count + 1)) for index in range(count)]
        sketches: asyncio.Queue[PreviewImage | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def receive(sketch: PreviewImage | None) -> None:
            loop.call_soon_threadsafe(sketches.put_nowait, sketch)

        ticket = self._submit(work, preview_steps, receive)
        ticket.add_done_callback(lambda _: receive(None))
        try:
            index = 0
            while (sketch := await sketches.get()) is not None:
                png = await asyncio.to_thread(encode_png, sketch.pixels, {"Step": f"{sketch.taken} of {sketch.steps}"})
                yield PartialImage(index, sketch.taken, sketch.steps, png)
                index += 1
            yield await asyncio.to_thread(self._result, work, await self._wait(ticket, job))
        finally:
            ticket.cancel()

    async def distance(self, label: int, caption: str) -> DistanceResult:
        """Measure the distance between a caption and the bank of a class."""
        if label not in self._sampler.bank.labels:
            raise no_captions()
        try:
            found = await asyncio.to_thread(self._distances.distance, label, caption)
        except DataError:
            raise self._invalid_caption("caption") from None
        return DistanceResult(
            self._registered.describe_entry(found.nearest), found.distance, found.typical, found.share_farther
        )

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Report the metric of the autoscaler; called by Ray Serve."""
        return {PENDING_ROWS: float(sum(stats.pending_rows for stats in self._live.stats().values()))}

    def _resolve(self, job: ImageJob) -> _ResolvedJob:
        """Find class, caption and text tokens of a job.

        Raises:
            ApiError: The model does not accept the caption or the settings.
        """
        try:
            label, caption, entry = self._resolve_caption(job)
            request = self._sampler.requests([label], [caption], [job.seed], job.settings)[0]
        except DataError:
            raise self._invalid_caption("prompt") from None
        deadline = None if job.deadline is None else time.monotonic() + job.deadline - time.time()
        return _ResolvedJob(replace(request, deadline=deadline, owner=job.owner), label, caption, entry, job.settings)

    def _resolve_caption(self, job: ImageJob) -> tuple[int, str, BankEntry | None]:
        """Find class, caption, and the bank entry of the caption."""
        if job.bank_id is not None:
            entry = self._registered.entry(job.bank_id)
            return entry.label if job.label is None else job.label, entry.caption, entry
        if job.caption is None:
            if job.label not in self._sampler.bank.labels:
                raise no_captions()
            entry = self._sampler.bank.draw(job.label, job.seed)[0]
            return entry.label, entry.caption, entry
        label = job.label if job.label is not None else self._class_of(job.caption)
        return label, job.caption, None

    def _invalid_caption(self, field: str) -> ApiError:
        """Build the error of a rejected caption; unlike the encoder's error it does not quote the text."""
        limit = self._sampler.encoder.max_tokens
        return ApiError(
            400, f"{field}: too long or empty; the model accepts 1..{limit} tokens.", "invalid_prompt", field
        )

    def _class_of(self, caption: str) -> int:
        """Find the only class that a caption names, or the class with the nearest bank."""
        named = class_named_in(caption, self._sampler.class_names)
        return self._distances.nearest_label(caption) if named is None else named

    def _submit(
        self,
        work: _ResolvedJob,
        preview_steps: Collection[int] = (),
        on_preview: Callable[[PreviewImage], None] | None = None,
    ) -> Future[Pixels]:
        try:
            return self._live.submit(
                work.request, work.settings.prototypes, preview_steps=preview_steps, on_preview=on_preview
            )
        except (ValueError, ConfigError) as error:
            raise ApiError(400, str(error), "invalid_value") from None

    async def _wait(self, ticket: Future[Pixels], job: ImageJob) -> Pixels:
        """Wait for an image; cancelling the wait cancels the image."""
        try:
            pixels = await asyncio.wrap_future(ticket)
        except TimeoutError:
            raise deadline_exceeded() from None
        except EngineDeadError:
            raise
        except BackendError:
            message = "guidance_scale: the image has non-finite values. Lower the guidance."
            raise ApiError(400, message, "not_finite", "guidance_scale") from None
        except Exception as error:
            LOG.error("Request %s failed: %s", job.request_id, type(error).__name__)
            self._failures += 1
            if self._failures == MAX_CONSECUTIVE_FAILURES:
                _end_process()
            raise EngineDeadError(type(error).__name__) from None  # the caller retries on another replica
        self._failures = 0
        return pixels

    def _result(self, work: _ResolvedJob, pixels: Pixels) -> ImageResult:
        bank_id = None if work.entry is None else self._registered.describe_entry(work.entry).id
        image = self._sampler.generated(
            pixels, work.label, work.caption, bank_id or "", work.request.seed, work.settings
        )
        return ImageResult(
            png=image.to_png(),
            label=work.label,
            class_name=image.class_name,
            caption=work.caption,
            bank_id=bank_id,
            seed=work.request.seed,
            model_sha256=image.model_sha256,
            text_tokens=len(work.request.context_LD),
            network_rows=self._sampler.engine.network_rows(work.request),
        )


def _end_process() -> None:
    """End the process: a new engine needs a new process, and callers retry on another replica."""
    os._exit(1)


def _sample_section(registered: RegisteredModel, model: ModelSettings) -> Sample:
    """Merge the sampling config of the checkpoint with the settings of the service."""
    overrides = {"precision": model.precision, "batch_sizes": model.batch_sizes}
    given = {name: value for name, value in overrides.items() if value is not None}
    return registered.config.sample.model_copy(update=given)
