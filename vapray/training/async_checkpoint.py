"""Background work of rank 0 during training: validation of EMA weights, and checkpoints.

The other ranks provide their share of the state.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, Self

import torch

from vapray.training.network import Network
from vapray.training.rank_context import RankContext
from vapray.training.state import Snapshot, TrainingState, load_weights, save_weights

__all__ = ["AsyncCheckpointer"]

SECONDS_BETWEEN_LOOKS = 0.2


class AsyncCheckpointer:
    """Thread that validates and saves copies of the state, in the order of the requests.

    A checkpoint therefore contains every validation up to its step and none after it, so that a resumed run finds the
    same best weights as an uninterrupted one. At most one validation and one checkpoint are in progress: a further
    request waits, but replaces a checkpoint that has not begun. An error is raised at the next call, or at the end,
    which waits for both.

    Args:
        context: provides validation and saving; on a GPU validation has its own stream.
        state: state of the loop; this thread owns ``validations`` and ``best`` until the end.
    """

    def __init__(self, context: RankContext, state: TrainingState) -> None:
        self._context, self._state = context, state
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="background")
        self._lock = threading.Lock()
        self._under_way: tuple[int, Network] | None = None
        self._validating: Future[None] | None = None
        self._saving: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._thread.shutdown(wait=True)
        if error is None:
            self._raise_errors()

    def validate(self) -> None:
        """Validate the current EMA weights.

        If a checkpoint is requested while the previous validation is in progress, the resumed run does it.
        """
        self._raise_errors()
        ema = self._state.sharding.gather_model(self._state.ema)
        if ema is not None and self._is_thread_free():
            self._submit_validation(self._state.step, ema)

    def _is_thread_free(self) -> bool:
        """Wait for the previous validation; return False if a checkpoint is requested meanwhile."""
        while self._validating is not None and not self._validating.done():
            if self._context.checkpoint_requested():
                return False
            wait([self._validating], timeout=SECONDS_BETWEEN_LOOKS)
        return True

    def validated(self) -> set[int]:
        """List the steps whose validation was done, or in progress, when the state was written."""
        with self._lock:
            known = {step for step, _ in self._state.validations}
            return known | ({self._state.pending[0]} if self._state.pending else set())

    def resume(self) -> None:
        """Start the validation that was in progress when the state was written."""
        if self._context.validate is None or self._state.pending is None:
            return
        step, weights = self._state.pending
        ema = self._state.sharding.gather_model(self._state.ema)
        if ema is not None:
            load_weights(ema, weights)
            self._submit_validation(step, ema)

    def save(self, when_done: Callable[[int], None] | None = None) -> None:
        """Write the current state; ``when_done`` is called with its step.

        Raises:
            TrainingDivergedError: a weight is not finite.
        """
        snapshot = self._snapshot()
        if self._context.rank == 0:
            self._saving = self._thread.submit(self._save, snapshot, when_done)

    def save_now(self, when_done: Callable[[int], None]) -> None:
        """Write the current state before the run ends, without waiting for a validation in progress.

        The weights of that validation are written too, and a resumed run validates them first.
        """
        snapshot = self._snapshot()
        if self._context.rank:
            return
        with self._lock:
            if self._under_way is not None:
                step, ema = self._under_way
                self._state.pending = step, save_weights(ema)
            files = self._state.to_files(snapshot)
        self._context.save(snapshot.step, files)
        when_done(snapshot.step)

    def _snapshot(self) -> Snapshot:
        """Copy the state, after the previous checkpoint has been cancelled or, if it has begun, completed."""
        self._raise_errors()
        if self._saving is not None and not self._saving.cancel():
            self._saving.result()
        self._saving = None
        return self._state.snapshot()

    def _submit_validation(self, step: int, ema: Network) -> None:
        self._under_way = step, ema
        self._validating = self._thread.submit(self._validate, step, ema)

    def _validate(self, step: int, ema: Network) -> None:
        assert self._context.validate is not None
        with _stream_of_its_own(self._context.device):
            values = self._context.validate(ema)
        with self._lock:
            self._state.record_validation(step, ema, values["validation_distance"])
            self._state.pending = self._under_way = None
        self._context.log_metrics(step, values)

    def _save(self, snapshot: Snapshot, when_done: Callable[[int], None] | None) -> None:
        self._context.save(snapshot.step, self._state.to_files(snapshot))
        if when_done is not None:
            when_done(snapshot.step)

    def _raise_errors(self) -> None:
        for job in (self._validating, self._saving):
            if job is not None and job.done():
                job.result()


@contextlib.contextmanager
def _stream_of_its_own(device: torch.device) -> Iterator[Any]:
    """Create a CUDA stream, so that a GPU can run validation and training concurrently."""
    if device.type != "cuda":
        yield
        return
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.default_stream(device))  # which copies the weights
    with torch.cuda.stream(stream):
        yield
        stream.synchronize()
