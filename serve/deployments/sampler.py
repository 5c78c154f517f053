"""The sampler's replicas: one deployment for each checkpoint, the step-level engine in a thread of its own."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass, replace

from serve.backend import DistanceResult, ImageJob, ImageResult, PartialImage
from serve.deployments.autoscaling import PENDING_ROWS
from serve.deployments.sampler_metrics import SamplerMetrics
from serve.errors import ApiError, deadline_exceeded, no_captions
from serve.model_registry import RegisteredModel
from serve.settings import ModelSettings
from vapray.bank.bank_distance import BankDistances
from vapray.bank.prompt_bank import BankEntry
from vapray.config import Sample
from vapray.diffusion.image_request import ImageRequest
from vapray.errors import BackendError, ConfigError, DataError, EngineDied
from vapray.sampling.generated import SamplingSettings
from vapray.sampling.live import LiveSampler, Pixels, Sketch
from vapray.sampling.provenance import encode_png
from vapray.sampling.sampler import Sampler

__all__ = ["SamplerReplica"]

LOG = logging.getLogger(__name__)
MAX_CONSECUTIVE_FAILURES = 3
"""Pictures in a row that fail for no reason of their own: a device in error stays so until its process ends."""


@dataclass(frozen=True)
class _ResolvedJob:
    """An order, settled."""

    request: ImageRequest
    label: int
    caption: str
    entry: BankEntry | None
    settings: SamplingSettings


class SamplerReplica:
    """Makes pictures; ready once it has made one.

    Args:
        model: what to load.
    """

    def __init__(self, model: ModelSettings) -> None:
        self._known = RegisteredModel.read(model)
        self._sampler = Sampler.load(
            model.checkpoint,
            weights=model.weights,
            device=model.replicas.device,
            text_encoder=model.text_encoder,
            sample=_sample_section(self._known, model),
        )
        self._live = LiveSampler(self._sampler, on_death=_end_process)
        self._distances = BankDistances(self._sampler.bank, self._sampler.encoder)
        self._failures = 0
        self._metrics = SamplerMetrics(self._live, model.name)
        self._warm_up()

    def _warm_up(self) -> None:
        """Make a picture, so that what cannot work never takes a request."""
        label = self._sampler.bank.labels[0]
        caption = self._sampler.bank.captions(label)[0]
        settings = replace(SamplingSettings.of(self._sampler.config), num_inference_steps=2)
        self._live.submit(self._sampler.requests([label], [caption], [0], settings)[0]).result()
        self._distances.nearest_label(caption)  # encodes the banks, which else the first who asks would wait for

    async def generate(self, job: ImageJob) -> ImageResult:
        """One picture."""
        work = await asyncio.to_thread(self._resolve, job)
        pixels = await self._finished(self._submit(work), job)
        return await asyncio.to_thread(self._made, work, pixels)

    async def stream(self, job: ImageJob) -> AsyncIterator[PartialImage | ImageResult]:
        """One picture, and what it is on its way there."""
        work = await asyncio.to_thread(self._resolve, job)
        steps, shown = work.settings.num_inference_steps, min(job.previews, work.settings.num_inference_steps - 1)
        after = [round(steps * (place + 1) / (shown + 1)) for place in range(shown)]
        sketches: asyncio.Queue[Sketch | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def hear(sketch: Sketch | None) -> None:
            loop.call_soon_threadsafe(sketches.put_nowait, sketch)

        ticket = self._submit(work, after, hear)
        ticket.add_done_callback(lambda _: hear(None))
        try:
            index = 0
            while (sketch := await sketches.get()) is not None:
                png = await asyncio.to_thread(encode_png, sketch.pixels, {"Step": f"{sketch.taken} of {sketch.steps}"})
                yield PartialImage(index, sketch.taken, sketch.steps, png)
                index += 1
            yield await asyncio.to_thread(self._made, work, await self._finished(ticket, job))
        finally:
            ticket.cancel()

    async def distance(self, label: int, caption: str) -> DistanceResult:
        """Of a text from a class's bank."""
        if label not in self._sampler.bank.labels:
            raise no_captions()
        try:
            found = await asyncio.to_thread(self._distances.of, label, caption)
        except DataError:
            raise self._wrong_caption("caption") from None
        return DistanceResult(self._known.caption(found.nearest), found.distance, found.typical, found.share_farther)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What the autoscaler looks at; asked by Serve."""
        return {PENDING_ROWS: float(sum(stats.pending_rows for stats in self._live.stats().values()))}

    def _resolve(self, job: ImageJob) -> _ResolvedJob:
        """Find class, caption and context.

        Raises:
            ApiError: a caption or settings that the model cannot take.
        """
        try:
            label, caption, entry = self._resolve_caption(job)
            request = self._sampler.requests([label], [caption], [job.seed], job.settings)[0]
        except DataError:
            raise self._wrong_caption("prompt") from None
        deadline = None if job.deadline is None else time.monotonic() + job.deadline - time.time()
        return _ResolvedJob(replace(request, deadline=deadline), label, caption, entry, job.settings)

    def _resolve_caption(self, job: ImageJob) -> tuple[int, str, BankEntry | None]:
        """Class, caption, and the bank's entry that it came from."""
        if job.bank_id is not None:
            entry = self._known.entry(job.bank_id)
            return entry.label if job.label is None else job.label, entry.caption, entry
        if job.caption is None:
            if job.label not in self._sampler.bank.labels:
                raise no_captions()
            entry = self._sampler.bank.draw(job.label, job.seed)[0]
            return entry.label, entry.caption, entry
        label = job.label if job.label is not None else self._class_of(job.caption)
        return label, job.caption, None

    def _wrong_caption(self, field: str) -> ApiError:
        """Without the encoder's own words, which quote the text: what is raised here gets into logs."""
        most = self._sampler.encoder.max_tokens
        said = f"The model reads captions of 1 to {most} tokens; this one has more, or none."
        return ApiError(400, said, "invalid_prompt", field)

    def _class_of(self, caption: str) -> int:
        """The one class that a caption names, or the one whose bank lies nearest."""
        words = caption.casefold().replace(",", " ").replace(".", " ").split()
        named = {number for number, name in enumerate(self._sampler.class_names) if name.casefold() in words}
        return named.pop() if len(named) == 1 else self._distances.nearest_label(caption)

    def _submit(
        self, work: _ResolvedJob, sketch_after: Collection[int] = (), hear: Callable[[Sketch], None] | None = None
    ) -> Future[Pixels]:
        try:
            return self._live.submit(work.request, work.settings.prototypes, sketch_after=sketch_after, on_sketch=hear)
        except (ValueError, ConfigError) as error:
            raise _refused(error) from None

    async def _finished(self, ticket: Future[Pixels], job: ImageJob) -> Pixels:
        """Wait; whoever cancels the wait cancels the picture."""
        try:
            pixels = await asyncio.wrap_future(ticket)
        except TimeoutError:
            raise deadline_exceeded() from None
        except EngineDied:
            raise
        except BackendError:
            said = "The picture's numbers left what can be represented. Ask for less guidance."
            raise ApiError(400, said, "not_finite", "guidance_scale") from None
        except Exception as error:
            LOG.error("%s: %s", job.request_id, type(error).__name__)
            self._failures += 1
            if self._failures == MAX_CONSECUTIVE_FAILURES:
                _end_process()
            raise EngineDied(type(error).__name__) from None  # and so it is asked from another replica
        self._failures = 0
        return pixels

    def _made(self, work: _ResolvedJob, pixels: Pixels) -> ImageResult:
        bank_id = None if work.entry is None else self._known.caption(work.entry).id
        picture = self._sampler.generated(
            pixels, work.label, work.caption, bank_id or "", work.request.seed, work.settings
        )
        return ImageResult(
            png=picture.to_png(),
            label=work.label,
            class_name=picture.class_name,
            caption=work.caption,
            bank_id=bank_id,
            seed=work.request.seed,
            model_sha256=picture.model_sha256,
            text_tokens=len(work.request.context_LD),
            network_rows=self._sampler.engine.network_rows(work.request),
        )


def _end_process() -> None:
    """Only a new process can have a new engine; what was under way here is sent to another replica."""
    os._exit(1)


def _refused(error: Exception) -> ApiError:
    return ApiError(400, str(error), "invalid_value")


def _sample_section(registered: RegisteredModel, model: ModelSettings) -> Sample:
    """The checkpoint's, with what the service says of it."""
    said = {"precision": model.precision, "batch_sizes": model.batch_sizes}
    return registered.config.sample.model_copy(
        update={name: value for name, value in said.items() if value is not None}
    )
