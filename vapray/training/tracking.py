"""Where the learning curve goes besides the checkpoint and the report: TensorBoard, or Weights & Biases.

A tracker is never a reason to stop or to wait: it works in a thread of its own behind a bounded queue, and what goes
wrong there is said once. A tracker that is opened after a restart is told the curve up to the checkpoint, so that steps
that are taken again stand in it once.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from vapray.config import Config
from vapray.store import Version
from vapray.training.state import TrainingState
from vapray.training.trackers import Point, TensorBoard, WeightsAndBiases

__all__ = ["Tracker", "Tracking", "open_tracker", "tracked"]

POINTS_WAITING = 1000
SECONDS_TO_CLOSE = 15.0


class Tracker(Protocol):
    """What a learning curve can be shown in."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Show values of a step; a validation may come later than points of steps behind it."""
        ...

    def close(self) -> None:
        """Finish writing."""
        ...


class Tracking:
    """A tracker behind a queue: no call waits for it or fails with it.

    Args:
        name: ``train.tracker``, for what is said.
        open_tracker: opens it, in its own thread.
        say: is told once that something went wrong.
        waiting: points at the most that wait for a slow tracker; those above are left out.
    """

    def __init__(
        self, name: str, open_tracker: Callable[[], Tracker], say: Callable[[str], None], waiting: int = POINTS_WAITING
    ) -> None:
        self._name, self._open, self._tell = name, open_tracker, say
        self._points: queue.Queue[Point | None] = queue.Queue(waiting)
        self._told = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)
        self._thread.start()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Hand over values of a step."""
        try:
            self._points.put_nowait((step, dict(values)))
        except queue.Full:
            self._say_once("does not keep up; points are left out")

    def close(self, seconds: float = SECONDS_TO_CLOSE) -> None:
        """Let it finish what it was given; a tracker that takes longer is left behind."""
        try:
            self._points.put_nowait(None)
        except queue.Full:
            self._say_once("does not keep up; points are left out")
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
            except Exception as error:  # the next one may go through: a disk gets room again, a network comes back
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
            self._tell(f"train.tracker={self._name}: {what}. Training goes on; the curve is also in the report.")


@contextmanager
def tracked(
    config: Config, output: Version, state: TrainingState, say: Callable[[str], None]
) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """Where to hand values of a step to, for the tracker of ``train.tracker``.

    Args:
        config: the tree.
        output: the version that training fills.
        state: that training goes on from.
        say: is told once that something went wrong.
    """
    if config.train.tracker == "none":
        yield lambda step, values: None
        return
    past: list[Point] = [(int(point["step"]), point) for point in state.curve]
    past += [(step, {"validation_distance": distance}) for step, distance in state.validations]
    tracking = Tracking(config.train.tracker, lambda: open_tracker(config, output, past), say)
    try:
        yield tracking.log
    finally:
        tracking.close()


def open_tracker(config: Config, output: Version, past: Sequence[Point]) -> Tracker:
    """The tracker of ``train.tracker``, which is not ``none``.

    Args:
        config: the tree.
        output: the version that training fills.
        past: the curve up to the checkpoint that training goes on from.
    """
    if config.train.tracker == "wandb":
        return WeightsAndBiases(config, output)
    return TensorBoard(output, past)
