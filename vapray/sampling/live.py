"""A sampler with threads of its own, for many callers at once: what a service puts behind its requests."""

import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vapray.diffusion.engine import Engine
from vapray.diffusion.engine_stats import EngineStats
from vapray.diffusion.image_request import ImageRequest, Preview
from vapray.sampling.generated import Prototypes
from vapray.sampling.rendering import decode_latent
from vapray.sampling.sampler import Sampler

__all__ = ["LiveSampler", "Pixels", "Sketch"]

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Sketch:
    """A picture on its way."""

    taken: int
    """Solver steps behind it."""
    steps: int
    """In all."""
    pixels: Pixels
    """[H, W, 3], what it would be if the solver stopped here."""


class LiveSampler:
    """Steps a sampler's engines and decodes what they finish, each in a thread of its own.

    No network runs in the thread that submits. An engine without work costs nothing.

    Args:
        sampler: whose engines.
        on_death: called in the thread of an engine that has stopped by itself; what was under way has failed by then.
    """

    def __init__(self, sampler: Sampler, on_death: Callable[[], None] = lambda: None) -> None:
        self.sampler, self._on_death = sampler, on_death
        self._threads: dict[Prototypes, threading.Thread] = {}
        self._starting = threading.Lock()

    def submit(
        self,
        request: ImageRequest,
        prototypes: Prototypes = "on",
        *,
        sketch_after: Collection[int] = (),
        on_sketch: Callable[[Sketch], None] | None = None,
    ) -> Future[Pixels]:
        """Take a request.

        Args:
            request: as the engine takes it, without a preview of its own.
            prototypes: whether the prototype condition takes part.
            sketch_after: numbers of solver steps after which to decode what there is.
            on_sketch: gets it, in the engine's thread.

        Returns:
            A ticket for the picture [H, W, 3]. Cancelling it frees its rows from the next network call on.

        Raises:
            ValueError: a request that the network or the solver cannot take.
            ConfigError: a network without prototypes is asked to bypass them.
            RuntimeError: after ``close``.
        """
        engine = self._running(prototypes)
        picture: Future[Pixels] = Future()
        if on_sketch is not None:
            request = replace(request, preview=partial(self._show, sketch_after, on_sketch))
        ticket = engine.submit(request)
        picture.add_done_callback(lambda ended: ticket.cancel() if ended.cancelled() else None)
        ticket.add_done_callback(lambda ended: self._hand_out(ended, picture))
        return picture

    def close(self) -> None:
        """Cancel what is under way and end the threads."""
        with self._starting:
            for prototypes, thread in self._threads.items():
                self.sampler.engine_for(prototypes).close()
                thread.join()

    def stats(self) -> dict[Prototypes, EngineStats]:
        """Of each engine that was ever asked."""
        return {prototypes: self.sampler.engine_for(prototypes).stats() for prototypes in list(self._threads)}

    def _running(self, prototypes: Prototypes) -> Engine:
        engine = self.sampler.engine_for(prototypes)
        with self._starting:
            if prototypes not in self._threads:
                name = f"sampler, prototypes {prototypes}"
                thread = threading.Thread(target=self._live_of, args=(engine,), name=name, daemon=True)
                thread.start()
                self._threads[prototypes] = thread
        return engine

    def _live_of(self, engine: Engine) -> None:
        try:
            engine.run_until_closed()
        except BaseException:
            self._on_death()
            raise

    def _hand_out(self, ticket: Future[Tensor], picture: Future[Pixels]) -> None:
        """In the engine's thread: decode, unless nobody waits any more."""
        if ticket.cancelled():
            picture.cancel()
        if not picture.set_running_or_notify_cancel():
            return
        try:
            picture.set_result(decode_latent(ticket.result(), self.sampler.autoencoder, self.sampler.space))
        except Exception as error:
            picture.set_exception(error)

    def _show(self, sketch_after: Collection[int], on_sketch: Callable[[Sketch], None], preview: Preview) -> None:
        if preview.taken in sketch_after:
            pixels = decode_latent(preview.clean_CHW, self.sampler.autoencoder, self.sampler.space)
            on_sketch(Sketch(preview.taken, preview.steps, pixels))
