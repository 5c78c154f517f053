"""Experiment tracking of the learning curve with TensorBoard or Weights & Biases.

A tracker never stops or delays training: it runs in its own thread with a bounded queue, and its first error is logged
once. A tracker opened after a restart gets the curve up to the checkpoint, so that repeated steps appear once.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from vapray.config import Config
from vapray.store.version import Version
from vapray.training.state import TrainingState
from vapray.training.trackers import Point, TensorBoard, WeightsAndBiases

__all__ = ["Tracker", "Tracking", "open_tracker", "tracked"]

POINTS_WAITING = 1000
SECONDS_TO_CLOSE = 15.0


class Tracker(Protocol):
    """Interface of a tracker."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values of a step; a validation may come later than points of later steps."""
        ...

    def close(self) -> None:
        """Finish writing."""
        ...


class Tracking:
    """Tracker with a queue, so that no call waits for it or fails with it.

    Args:
        name: value of ``train.tracker``, for log lines.
        open_tracker: function that opens the tracker, called in the tracker's thread.
        log: log function, called once for the first error.
        waiting: maximum number of queued points; further points are dropped.
    """

    def __init__(
        self, name: str, open_tracker: Callable[[], Tracker], log: Callable[[str], None], waiting: int = POINTS_WAITING
    ) -> None:
        self._name, self._open, self._tell = name, open_tracker, log
        self._points: queue.Queue[Point | None] = queue.Queue(waiting)
        self._told = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)
        self._thread.start()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Queue the values of a step."""
        try:
            self._points.put_nowait((step, dict(values)))
        except queue.Full:
            self._say_once("is too slow; points are dropped")

    def close(self, seconds: float = SECONDS_TO_CLOSE) -> None:
        """Wait for the tracker to finish, at most ``seconds``."""
        try:
            self._points.put_nowait(None)
        except queue.Full:
            self._say_once("is too slow; points are dropped")
            return
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._say_once(f"did not finish within {seconds:g} s")

    def _run(self) -> None:
        try:
            tracker = self._open()
        except Exception as error:
            self._say_failed(error)
            while self._points.get() is not None:
                pass
            return
        while (point := self._points.get()) is not None:
            try:
                tracker.log(*point)
            except Exception as error:  # the next point may succeed, when the disk or the network is available again
                self._say_failed(error)
        try:
            tracker.close()
        except Exception as error:
            self._say_failed(error)

    def _say_failed(self, error: Exception) -> None:
        self._say_once((str(error).strip().splitlines() or [type(error).__name__])[0].rstrip("."))

    def _say_once(self, what: str) -> None:
        if not self._told.is_set():
            self._told.set()
            self._tell(f"train.tracker={self._name}: {what}. Training continues; the curve is also in the report.")


@contextmanager
def tracked(
    config: Config, output: Version, state: TrainingState, log: Callable[[str], None]
) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """Create a context with the log function of the tracker ``train.tracker``.

    Args:
        config: configuration of the run.
        output: version that training writes.
        state: state from which training continues.
        log: log function, called once for the first error.
    """
    if config.train.tracker == "none":
        yield lambda step, values: None
        return
    past: list[Point] = [(int(point["step"]), point) for point in state.curve]
    past += [(step, {"validation_distance": distance}) for step, distance in state.validations]
    tracking = Tracking(config.train.tracker, lambda: open_tracker(config, output, past), log)
    try:
        yield tracking.log
    finally:
        tracking.close()


def open_tracker(config: Config, output: Version, past: Sequence[Point]) -> Tracker:
    """Open the tracker of ``train.tracker``, which is not ``none``.

    Args:
        config: configuration of the run.
        output: version that training writes.
        past: learning curve up to the checkpoint from which training continues.
    """
    if config.train.tracker == "wandb":
        return WeightsAndBiases(config, output)
    return TensorBoard(output, past)
