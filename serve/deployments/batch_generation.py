"""A set of pictures asked from a sampler's replicas, in order, a bounded number at a time."""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Mapping

from serve.backend import EvaluationOrder, ImageOrder, MadeImage
from serve.deployments.retrying_handle import Resender
from serve.errors import ApiError
from vapray.sampling.generated import SamplingSettings
from vapray.sampling.plan import label_counts

__all__ = ["generate_set"]

UNDER_WAY = 32
"""Pictures that are asked for at a time."""
MOST_TRIES = 20
"""Of a picture, where the samplers are busy or keep dying; with the pauses between them some seven minutes."""
LONGEST_PAUSE_SECONDS = 30.0
LONGEST_SECONDS = 600.0
"""For one picture, a replica's start included."""
BUSY = (429, 503)


async def generate_set(
    sampler: Resender, order: EvaluationOrder, defaults: SamplingSettings, prior: Mapping[int, int]
) -> AsyncGenerator[MadeImage, None]:
    """Pictures with seeds ``order.seed``, ``order.seed + 1``, ..., their captions drawn from the bank.

    Args:
        sampler: asks its replicas.
        order: of a set to generate.
        defaults: settings where the order has none.
        prior: images of each class; without a label the set has the classes in this proportion.

    Raises:
        ApiError: what the sampler refuses, or still is too busy for.
    """
    waiting: deque[asyncio.Task[MadeImage]] = deque()
    try:
        for one in _image_orders(order, defaults, prior):
            waiting.append(asyncio.create_task(_made(sampler, one)))
            if len(waiting) == UNDER_WAY:
                yield await waiting.popleft()
        while waiting:
            yield await waiting.popleft()
    finally:
        for task in waiting:
            task.cancel()


async def _made(sampler: Resender, order: ImageOrder) -> MadeImage:
    for tries in itertools.count(1):
        try:
            made: MadeImage = await sampler.ask("make", order, until=time.time() + LONGEST_SECONDS)
            return made
        except ApiError as error:
            if error.status not in BUSY or tries == MOST_TRIES:
                raise
            pause = max(error.retry_after_s or 0.0, 0.25 * 2**tries)
        await asyncio.sleep(min(LONGEST_PAUSE_SECONDS, pause))
    raise AssertionError("unreachable")


def _image_orders(order: EvaluationOrder, defaults: SamplingSettings, prior: Mapping[int, int]) -> Iterator[ImageOrder]:
    counts = label_counts(prior, order.n) if order.label is None else {order.label: order.n}
    labels = [label for label, count in counts.items() for _ in range(count)]
    for seed, label in enumerate(labels, start=order.seed):
        settings = order.settings or defaults
        yield ImageOrder(order.model, label, None, seed, settings)
