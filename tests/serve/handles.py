"""What stands for a Serve handle where classes are called without Ray."""

import asyncio
import threading
from collections.abc import Callable

from serve.backend import ImageJob, ImageResult
from vapray.sampling.sampler import Sampler


class Handle:
    """Makes pictures by a real sampler, in threads; counts what is asked for and what is under way.

    ``before`` is called with every order first, and may raise.
    """

    def __init__(self, sampler: Sampler, before: Callable[[ImageJob], None] = lambda _: None) -> None:
        self._sampler, self._before = sampler, before
        self.jobs: list[ImageJob] = []
        self.in_flight = self.most_in_flight = self.cancelled = 0

    @property
    def generate(self) -> "Handle":
        return self

    async def remote(self, job: ImageJob) -> ImageResult:
        self.jobs.append(job)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            self._before(job)
            return await asyncio.to_thread(self._made, job)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1

    def _made(self, job: ImageJob) -> ImageResult:
        assert job.label is not None
        (made,) = self._sampler.generate(job.label, job.caption, seed=job.seed, settings=job.settings)
        return ImageResult(
            made.to_png(), made.label, made.class_name, made.caption, None, made.seed, made.model_sha256, 1, 1
        )


class Gated(Handle):
    """Makes nothing before ``gate`` opens."""

    def __init__(self, sampler: Sampler, gate: threading.Event, before: Callable[[], None] = lambda: None) -> None:
        super().__init__(sampler, lambda _: before())
        self._gate = gate

    async def remote(self, job):
        self._before(job)
        while not self._gate.is_set():
            await asyncio.sleep(0.01)
        return await super().remote(job)
