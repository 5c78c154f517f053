"""What stands for a Serve handle where classes are called without Ray."""

import asyncio
from collections.abc import Callable

from serve.backend import ImageOrder, MadeImage
from vapray.sampling.sampler import Sampler


class Handle:
    """Makes pictures by a real sampler, in threads; counts what is asked for and what is under way.

    ``before`` is called with every order first, and may raise.
    """

    def __init__(self, sampler: Sampler, before: Callable[[ImageOrder], None] = lambda _: None) -> None:
        self._sampler, self._before = sampler, before
        self.orders: list[ImageOrder] = []
        self.under_way = self.most_under_way = self.cancelled = 0

    @property
    def make(self) -> "Handle":
        return self

    async def remote(self, order: ImageOrder) -> MadeImage:
        self.orders.append(order)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            self._before(order)
            return await asyncio.to_thread(self._made, order)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.under_way -= 1

    def _made(self, order: ImageOrder) -> MadeImage:
        assert order.label is not None
        (made,) = self._sampler.generate(order.label, order.caption, seed=order.seed, settings=order.settings)
        return MadeImage(
            made.to_png(), made.label, made.class_name, made.caption, None, made.seed, made.model_sha256, 1, 1
        )
