"""Sampler with one thread per engine, for many concurrent callers, as in a service."""

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
    """Preview of an unfinished image."""

    taken: int
    """Number of solver steps taken."""
    steps: int
    """Total number of solver steps."""
    pixels: Pixels
    """Image uint8 [H, W, 3] that the solver would return if it stopped here."""


class LiveSampler:
    """Run a sampler's engines and decode their latents, each engine in its own thread.

    No network runs in the submitting thread. An idle engine takes no CPU time.

    Args:
        sampler: Sampler that owns the engines.
        on_death: Called in the thread of an engine that stopped by an error, after its pending requests have failed.
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
        """Submit a request.

        Args:
            request: Request for the engine, without a preview callback.
            prototypes: Use or bypass the prototype condition.
            sketch_after: Numbers of solver steps after which to decode a preview.
            on_sketch: Receives each preview, in the engine's thread; None: no previews.

        Returns:
            Future of the image uint8 [H, W, 3]. Cancelling it frees its rows from the next network call on.

        Raises:
            ValueError: the network or the solver cannot take the request.
            ConfigError: prototypes are to be bypassed, but the network has none.
            RuntimeError: the sampler is closed.
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
        """Cancel pending requests and end the threads."""
        with self._starting:
            for prototypes, thread in self._threads.items():
                self.sampler.engine_for(prototypes).close()
                thread.join()

    def stats(self) -> dict[Prototypes, EngineStats]:
        """Statistics of each engine that has received a request."""
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
        """Decode in the engine's thread, unless the caller has cancelled."""
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
