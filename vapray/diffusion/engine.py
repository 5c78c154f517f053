"""Step-level batching engine: images with individual settings share network calls.

    submit ──► waiting ──► rows of the next step ──┐  admission, cancellation and deadlines: between two calls
                  ▲                                ▼
                  └─── solver ◄─── guidance ◄─── one network call, padded to a fixed shape ───► ticket

A network call takes up to ``max(batch_sizes)`` rows; an image with guidance needs two rows per step. ``StepBatcher``
chooses the rows of a call. Every image has its own solver state.

Reproducibility: a call has the shape [one of ``batch_sizes``, the padded length of its captions]. With one batch size,
an image's shapes depend on the image only, and so do its bytes on one CPU type with fixed threads. With several sizes
they depend on the other images; results then differ by at most 1/255. Measured on a Xeon with AVX-512 and AMX, float32,
widths 16 to 256, one and two threads: all sizes from 2 rows up gave the same bytes, at every position and with any
other rows; a single row gave different bytes, so avoid size 1.
"""

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from functools import lru_cache, partial

import torch
from torch import Tensor

from vapray.diffusion.engine_stats import COUNTED, EngineStats
from vapray.diffusion.guidance import guide
from vapray.diffusion.host_copies import Lead, to_device
from vapray.diffusion.image_request import ConditioningSpec, ImageRequest
from vapray.diffusion.parameterization import Parameterization
from vapray.diffusion.request_state import BatchRow, Branch, RequestState, network_inputs
from vapray.diffusion.solver import advance, solver_plan
from vapray.diffusion.step_batching import StepBatcher, context_lengths, in_turns, smallest_batch_size
from vapray.errors import BackendError, EngineDeadError, is_device_failure
from vapray.models.precision import Precision, matrix_products
from vapray.models.prediction import Denoiser

__all__ = ["SamplingEngine"]


class SamplingEngine:
    """Engine that samples images with one network. Any thread may submit, cancel and step; steps are serialized.

    Args:
        network: denoising network, in inference mode, on ``device``.
        parameterization: noise schedule of its training, and meaning of its output.
        conditions: conditions that it accepts.
        latent_shape: (C, H, W).
        batch_sizes: allowed numbers of rows of a call; each call is padded to the smallest that fits.
        split_unconditional: give unconditional rows calls of their own, without caption tokens.
        precision: precision of the network's matrix products.
        device: torch device.

    Raises:
        ValueError: no batch size, or one below 1.
    """

    def __init__(
        self,
        network: Denoiser,
        parameterization: Parameterization,
        conditions: ConditioningSpec,
        *,
        latent_shape: tuple[int, int, int],
        batch_sizes: Iterable[int] = (16,),
        split_unconditional: bool = False,
        precision: Precision = "float32",
        device: torch.device | str = "cpu",
    ) -> None:
        self.batch_sizes = tuple(sorted(set(batch_sizes)))
        if not self.batch_sizes or self.batch_sizes[0] < 1:
            raise ValueError(f"batch sizes: expected at least one, none below 1, got {self.batch_sizes}")
        self._network, self._conditions, self._parameterization = network, conditions, parameterization
        self._latent_shape, self._device = latent_shape, torch.device(device)
        self._split_unconditional, self._precision = split_unconditional, precision
        self._plan = lru_cache(64)(partial(solver_plan, parameterization.schedule))
        self._context_lengths = context_lengths(conditions.max_context)
        self._batcher = StepBatcher(self.batch_sizes[-1])
        self._images: list[RequestState] = []
        self._counts = dict.fromkeys(COUNTED, 0)
        self._closed, self._lead = False, Lead(self._device)
        self._changed = threading.Condition()
        self._stepping = threading.Lock()

    def submit(self, request: ImageRequest) -> Future[Tensor]:
        """Submit a request; it joins at the next step.

        Returns:
            Future with the clean latent, float32 [C, H, W]. ``cancel()`` works until it has ended, also from
            ``asyncio.wrap_future``; its rows are free from the next step on. Its callbacks run in the stepping thread,
            and may submit, but not step.

        Raises:
            ValueError: a request that the network or the solver does not accept.
            RuntimeError: after ``close``.
        """
        self._conditions.validate(request)
        plan = self._plan(request.solver, request.num_inference_steps)
        length = smallest_batch_size(len(request.context_LD), self._context_lengths)
        lengths = {Branch.CONDITIONAL: length, Branch.UNCONDITIONAL: 0 if self._split_unconditional else length}
        image = RequestState(request, plan, lengths, self._latent_shape, self._device)
        with self._changed:
            if self._closed:
                raise RuntimeError(f"{request}: the engine is closed")
            self._images.append(image)
            self._changed.notify_all()
        return image.ticket

    def network_rows(self, request: ImageRequest) -> int:
        """Count the network rows of a request from start to end."""
        plan = self._plan(request.solver, request.num_inference_steps)
        return sum(1 + bool(request.guidance.at(int(step))) for step in plan.steps)

    def step(self) -> list[Future[Tensor]]:
        """End cancelled and overdue images, make a network call if an image waits for one, and return finished images.

        On a GPU an image is returned by a later step than its last one, when the check of its latent has arrived.

        Returns:
            Futures of the images that ended.
        """
        with self._stepping, torch.no_grad():
            images = self._snapshot()
            try:
                for image in images:
                    overdue = image.overdue() if image.under_way else None
                    if overdue or image.ticket.cancelled():
                        self._end(image, overdue)
                if under_way := [image for image in images if image.under_way]:
                    self._call(under_way)
                    self._lead.step()
                self._answer(images, wait=not under_way)
            except BaseException as error:
                # Fail all waiting images and refuse new ones, because the engine has stopped.
                self._closed = True
                for image in images:
                    self._end(image, EngineDeadError(f"{image.request}: the engine stopped: {error!r}"))
                raise
            finally:
                with self._changed:
                    self._images = [image for image in self._images if not image.ended]
            return [image.ticket for image in images if image.ended]

    def run_until_idle(self) -> None:
        """Step until no image waits."""
        while self._images:
            self.step()

    def run_until_done(self, tickets: Iterable[Future[Tensor]]) -> None:
        """Step until the given futures have ended; other images advance too."""
        for ticket in tickets:
            while not ticket.done():
                self.step()

    def run_until_closed(self) -> None:
        """Step while there is work and sleep otherwise: the loop of the engine's thread."""
        while self._wait_for_work():
            self.step()
        self.run_until_idle()

    def close(self) -> None:
        """Refuse further requests and cancel those in progress."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for image in self._snapshot():
            image.ticket.cancel()

    def stats(self) -> EngineStats:
        """Get counts since the start, and the current load."""
        images = [image for image in self._snapshot() if not image.ticket.done()]
        return EngineStats(**self._counts, waiting=len(images), pending_rows=sum(image.rows_left for image in images))

    def _snapshot(self) -> list[RequestState]:
        with self._changed:
            return list(self._images)

    def _wait_for_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._images or self._closed)
            return not self._closed

    def _end(self, image: RequestState, outcome: Tensor | BaseException | None) -> None:
        """End an image and count its end."""
        if kind := image.end(outcome):
            self._counts[kind] += 1

    def _answer(self, images: Sequence[RequestState], *, wait: bool) -> None:
        """Return finished images: those whose latent has been checked, or with ``wait`` all."""
        for image in images:
            if image.ended or image.under_way or not (wait or image.result_is_ready()):
                continue
            try:
                self._end(image, image.result())
            except BackendError as error:
                self._end(image, error)

    def _call(self, images: Sequence[RequestState]) -> None:
        """Make one network call, and a solver step for each image whose step it completes."""
        rows = self._batcher.next_batch(
            (length, partial(image.missing, length))
            for image in in_turns(images, lambda image: image.request.owner)
            for length in sorted(set(image.padded_lengths.values()))
        )
        self._run_rows(rows)
        evaluated = dict.fromkeys(row.image for row in rows)
        if ready := [image for image in evaluated if not image.ended and not image.missing()]:
            self._advance(ready)

    def _run_rows(self, rows: Sequence[BatchRow]) -> None:
        """Evaluate all rows together; after an error image by image, so that only the faulty image fails."""
        try:
            for row, output_CHW in zip(rows, self._predict(rows), strict=True):
                row.image.receive(row.branch, output_CHW)
        except Exception as error:
            if is_device_failure(error):
                raise  # every further call would fail
            images = dict.fromkeys(row.image for row in rows)
            for image in images:
                if len(images) == 1:
                    self._end(image, error)
                else:
                    self._run_rows([row for row in rows if row.image is image])

    def _predict(self, rows: Sequence[BatchRow]) -> Tensor:
        """Compute the network's output for each row, [rows, C, H, W], in a call of a fixed shape."""
        padding = smallest_batch_size(len(rows), self.batch_sizes) - len(rows)
        inputs, shape = network_inputs(rows, padding, self._device)
        with matrix_products(self._precision, self._device):
            predicted = self._network(*inputs, text_shape=shape, reconstruct=False)
        for name, count in (("calls", 1), ("rows", len(rows)), ("padded_rows", len(rows) + padding)):
            self._counts[name] += count
        return predicted.output_BCHW[: len(rows)]

    def _advance(self, images: Sequence[RequestState]) -> None:
        """Apply guidance and one solver step to each image, and return finished results."""
        conditional_BCHW, unconditional_BCHW = map(
            torch.stack, zip(*(image.outputs() for image in images), strict=True)
        )
        excess_B = to_device([image.excess for image in images], conditional_BCHW.dtype, self._device)
        states = [image.state for image in images]
        moved = advance(states, guide(conditional_BCHW, unconditional_BCHW, excess_B), self._parameterization)
        self._counts["steps"] += len(images)
        for image, state in zip(images, moved, strict=True):
            try:
                image.move(state)
                if state.finished:
                    image.finish()
            except Exception as error:  # from its preview callback
                self._end(image, error)
