"""Ordered generation of an image set with a bounded number of images in flight."""

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
"""Concurrent images."""
MAX_ATTEMPTS = 20
"""Attempts per image while samplers are busy or failing; about seven minutes with the pauses."""
MAX_PAUSE_SECONDS = 30.0
IMAGE_TIMEOUT_SECONDS = 600.0
"""Timeout of one image, including the start of a replica."""
EVALUATIONS = "evaluations"
"""Owner of the images: all evaluations together take turns with the clients."""
RETRYABLE_STATUSES = (429, 503)


async def generate_images(
    sampler: RetryingHandle, job: EvaluationJob, defaults: SamplingSettings, prior: Mapping[int, int]
) -> AsyncGenerator[ImageResult, None]:
    """Generate images with seeds ``job.seed``, ``job.seed + 1``, ... and captions drawn from the bank.

    Args:
        sampler: Handle of the sampler.
        job: Set to generate.
        defaults: Sampling settings if the job has none.
        prior: Number of training images per class; without a label the set has the same proportions.

    Raises:
        ApiError: The sampler refuses an image, or stays busy.
    """
    pending: deque[asyncio.Task[ImageResult]] = deque()
    try:
        for one in _image_jobs(job, defaults, prior):
            pending.append(asyncio.create_task(_generate(sampler, one)))
            if len(pending) == MAX_IN_FLIGHT:
                yield await pending.popleft()
        while pending:
            yield await pending.popleft()
    finally:
        for task in pending:
            task.cancel()


async def _generate(sampler: RetryingHandle, job: ImageJob) -> ImageResult:
    for attempt in itertools.count(1):
        try:
            result: ImageResult = await sampler.call("generate", job, until=time.time() + IMAGE_TIMEOUT_SECONDS)
            return result
        except ApiError as error:
            if error.status not in RETRYABLE_STATUSES or attempt == MAX_ATTEMPTS:
                raise
            pause = max(error.retry_after_s or 0.0, 0.25 * 2**attempt)
        await asyncio.sleep(min(MAX_PAUSE_SECONDS, pause))
    raise AssertionError("unreachable")


def _image_jobs(job: EvaluationJob, defaults: SamplingSettings, prior: Mapping[int, int]) -> Iterator[ImageJob]:
    counts = label_counts(prior, job.n) if job.label is None else {job.label: job.n}
    labels = [label for label, count in counts.items() for _ in range(count)]
    for seed, label in enumerate(labels, start=job.seed):
        yield ImageJob(job.model, label, None, seed, job.settings or defaults, owner=EVALUATIONS)
