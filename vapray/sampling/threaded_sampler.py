"""Sampler with one thread per engine and one that decodes, for many concurrent callers, as in a service."""

import logging
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vapray.diffusion.engine import SamplingEngine
from vapray.diffusion.engine_stats import EngineStats
from vapray.diffusion.image_request import ImageRequest, IntermediateLatent
from vapray.sampling.generated import Prototypes
from vapray.sampling.rendering import decode_latent
from vapray.sampling.sampler import Sampler

__all__ = ["Pixels", "PreviewImage", "ThreadedSampler"]

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class PreviewImage:
    """Preview of an unfinished image."""

    taken: int
    """Number of solver steps taken."""
    steps: int
    """Total number of solver steps."""
    pixels: Pixels
    """Image uint8 [H, W, 3] that the solver would return if it stopped here."""


class ThreadedSampler:
    """Run a sampler's engines, each in its own thread, and decode their latents in another one, in order.

    Other images take their steps while one is decoded. No network runs in the submitting thread. An idle engine takes
    no CPU time.

    Args:
        sampler: Sampler that owns the engines.
        on_death: Called in the thread of an engine that stopped by an error, after its pending requests have failed.
    """

    def __init__(self, sampler: Sampler, on_death: Callable[[], None] = lambda: None) -> None:
        self.sampler, self._on_death = sampler, on_death
        self._threads: dict[Prototypes, threading.Thread] = {}
        self._starting = threading.Lock()
        self._decoder = ThreadPoolExecutor(1, "decoder")
        self._closed = False

    def submit(
        self,
        request: ImageRequest,
        prototypes: Prototypes = "on",
        *,
        preview_steps: Collection[int] = (),
        on_preview: Callable[[PreviewImage], None] | None = None,
    ) -> Future[Pixels]:
        """Submit a request.

        Args:
            request: Request for the engine, without a preview callback.
            prototypes: Use or bypass the prototype condition.
            preview_steps: Numbers of solver steps after which to decode a preview.
            on_preview: Receives each preview, in the decoder's thread; None: no previews. Its errors are logged.

        Returns:
            Future of the image uint8 [H, W, 3]. Cancelling it frees its rows from the next network call on.

        Raises:
            ValueError: the network or the solver cannot take the request.
            ConfigError: prototypes are to be bypassed, but the network has none.
            RuntimeError: the sampler is closed.
        """
        if self._closed:
            raise RuntimeError(f"{request}: the sampler is closed")
        engine = self._start_engine(prototypes)
        image: Future[Pixels] = Future()
        if on_preview is not None:
            request = replace(request, preview=partial(self._take_preview, image, preview_steps, on_preview))
        ticket = engine.submit(request)
        image.add_done_callback(lambda ended: ticket.cancel() if ended.cancelled() else None)
        ticket.add_done_callback(lambda ended: self._take_result(ended, image))
        return image

    def close(self) -> None:
        """Cancel pending requests and end the threads."""
        self._closed = True
        with self._starting:
            for prototypes, thread in self._threads.items():
                self.sampler.engine_for(prototypes).close()
                thread.join()
        self._decoder.shutdown()

    def stats(self) -> dict[Prototypes, EngineStats]:
        """Statistics of each engine that has received a request."""
        return {prototypes: self.sampler.engine_for(prototypes).stats() for prototypes in list(self._threads)}

    def _start_engine(self, prototypes: Prototypes) -> SamplingEngine:
        engine = self.sampler.engine_for(prototypes)
        with self._starting:
            if prototypes not in self._threads:
                name = f"sampler, prototypes {prototypes}"
                thread = threading.Thread(target=self._run_engine, args=(engine,), name=name, daemon=True)
                thread.start()
                self._threads[prototypes] = thread
        return engine

    def _run_engine(self, engine: SamplingEngine) -> None:
        try:
            engine.run_until_closed()
        except BaseException:
            self._on_death()
            raise

    def _take_result(self, ticket: Future[Tensor], image: Future[Pixels]) -> None:
        """Pass a latent to the decoder, unless the caller has cancelled; in the engine's thread."""
        if ticket.cancelled():
            image.cancel()
        if not image.set_running_or_notify_cancel():
            return
        if error := ticket.exception():
            image.set_exception(error)
        else:
            self._decoder.submit(self._decode_result, ticket.result(), image)

    def _decode_result(self, latent_CHW: Tensor, image: Future[Pixels]) -> None:
        try:
            image.set_result(decode_latent(latent_CHW, self.sampler.autoencoder, self.sampler.space))
        except Exception as error:
            image.set_exception(error)

    def _take_preview(
        self,
        image: Future[Pixels],
        preview_steps: Collection[int],
        on_preview: Callable[[PreviewImage], None],
        preview: IntermediateLatent,
    ) -> None:
        if preview.taken in preview_steps:
            self._decoder.submit(self._decode_preview, image, on_preview, preview)

    def _decode_preview(
        self, image: Future[Pixels], on_preview: Callable[[PreviewImage], None], preview: IntermediateLatent
    ) -> None:
        """Decode a preview, unless its image was cancelled; a preview that fails is left out, and the log says so."""
        if image.cancelled():
            return
        try:
            pixels = decode_latent(preview.clean_CHW, self.sampler.autoencoder, self.sampler.space)
            on_preview(PreviewImage(preview.taken, preview.steps, pixels))
        except Exception:
            logging.getLogger(__name__).exception("preview after step %d failed", preview.taken)
