"""A set of pictures asked from a sampler's replicas, in order, a bounded number at a time."""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Mapping

from serve.backend import EvaluationJob, ImageJob, ImageResult
from serve.deployments.retrying_handle import RetryingHandle
from serve.errors import ApiError
from vapray.sampling.generated import SamplingSettings
from vapray.sampling.plan import label_counts

__all__ = ["generate_images"]

MAX_IN_FLIGHT = 32
"""Pictures that are asked for at a time."""
MAX_ATTEMPTS = 20
"""Of a picture, where the samplers are busy or keep dying; with the pauses between them some seven minutes."""
MAX_PAUSE_SECONDS = 30.0
IMAGE_TIMEOUT_SECONDS = 600.0
"""For one picture, a replica's start included."""
RETRYABLE_STATUSES = (429, 503)


async def generate_images(
    sampler: RetryingHandle, job: EvaluationJob, defaults: SamplingSettings, prior: Mapping[int, int]
) -> AsyncGenerator[ImageResult, None]:
    """Pictures with seeds ``job.seed``, ``job.seed + 1``, ..., their captions drawn from the bank.

    Args:
        sampler: asks its replicas.
        job: of a set to generate.
        defaults: settings where the order has none.
        prior: images of each class; without a label the set has the classes in this proportion.

    Raises:
        ApiError: what the sampler refuses, or still is too busy for.
    """
    waiting: deque[asyncio.Task[ImageResult]] = deque()
    try:
        for one in _image_jobs(job, defaults, prior):
            waiting.append(asyncio.create_task(_made(sampler, one)))
            if len(waiting) == MAX_IN_FLIGHT:
                yield await waiting.popleft()
        while waiting:
            yield await waiting.popleft()
    finally:
        for task in waiting:
            task.cancel()


async def _made(sampler: RetryingHandle, job: ImageJob) -> ImageResult:
    for tries in itertools.count(1):
        try:
            made: ImageResult = await sampler.call("generate", job, until=time.time() + IMAGE_TIMEOUT_SECONDS)
            return made
        except ApiError as error:
            if error.status not in RETRYABLE_STATUSES or tries == MAX_ATTEMPTS:
                raise
            pause = max(error.retry_after_s or 0.0, 0.25 * 2**tries)
        await asyncio.sleep(min(MAX_PAUSE_SECONDS, pause))
    raise AssertionError("unreachable")


def _image_jobs(job: EvaluationJob, defaults: SamplingSettings, prior: Mapping[int, int]) -> Iterator[ImageJob]:
    counts = label_counts(prior, job.n) if job.label is None else {job.label: job.n}
    labels = [label for label, count in counts.items() for _ in range(count)]
    for seed, label in enumerate(labels, start=job.seed):
        settings = job.settings or defaults
        yield ImageJob(job.model, label, None, seed, settings)
