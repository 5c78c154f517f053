"""Where the learning curve goes besides the checkpoint and the report: TensorBoard, or Weights & Biases.

A tracker is never a reason to stop or to wait: it works in a thread of its own behind a bounded queue, and what goes
wrong there is said once. A tracker that is opened after a restart is told the curve up to the checkpoint, so that steps
that are taken again stand in it once.
"""

import hashlib
import os
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from vapray.config import Config
from vapray.store import Version
from vapray.training.state import TrainingState

__all__ = ["Point", "TensorBoard", "Tracker", "Tracking", "WeightsAndBiases", "open_tracker", "tracked"]

Point = tuple[int, Mapping[str, float]]
"""A step, and values by name."""
POINTS_WAITING = 1000
SECONDS_TO_CLOSE = 15.0
SECONDS_BETWEEN_UPLOADS = 30.0


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
        self._say_once((str(error).strip().splitlines() or [type(error).__name__])[0])

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


class TensorBoard:
    """An event file in ``files/tensorboard``, which ``tensorboard --logdir RUN`` finds.

    It is written anew at every start, from the checkpoint's curve on. A local file grows point by point; to an object
    store, where nothing can be appended, it goes whole, every half minute and at the end.

    Args:
        output: the version that training fills.
        past: the curve up to the checkpoint that training goes on from.
    """

    def __init__(self, output: Version, past: Sequence[Point]) -> None:
        from tensorboardX.event_file_writer import EventsWriter

        self._files, self._folder = output.files, f"{output.folder}/files/tensorboard"
        self._files.remove(self._folder)
        self._temporary = None if self._files.is_local else tempfile.TemporaryDirectory(prefix="vapray-events-")
        local = Path(self._temporary.name if self._temporary else self._files.path(self._folder))
        local.mkdir(parents=True, exist_ok=True)
        self._events = EventsWriter(str(local / "events"))
        (self._path,) = local.iterdir()
        self._uploaded = time.monotonic()
        self._forget_earlier_files()
        for step, values in past:
            self._write(step, values)
        self._events.flush()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append values of a step."""
        self._write(step, values)
        self._events.flush()
        if self._temporary and time.monotonic() - self._uploaded >= SECONDS_BETWEEN_UPLOADS:
            self._upload()

    def close(self) -> None:
        """Finish writing."""
        self._events.close()
        if self._temporary:
            self._upload()
            self._temporary.cleanup()

    def _forget_earlier_files(self) -> None:
        """A TensorBoard that has been watching since before the restart drops what it has read."""
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        start = SessionLog(status=SessionLog.START)
        self._events.write_event(Event(wall_time=time.time(), step=0, session_log=start))

    def _write(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import Summary

        shown = [
            Summary.Value(tag=f"train/{name}", simple_value=value) for name, value in values.items() if name != "step"
        ]
        self._events.write_event(Event(wall_time=time.time(), step=step, summary=Summary(value=shown)))

    def _upload(self) -> None:
        self._uploaded = time.monotonic()
        self._files.write(f"{self._folder}/{self._path.name}", self._path.read_bytes())


class WeightsAndBiases:
    """A run of Weights & Biases; its own environment variables (``WANDB_PROJECT``, ``WANDB_MODE``, ...) apply.

    A restart goes on with the same run, which keeps what it knows of steps that are taken again.

    Args:
        config: the tree; what training learns from is sent along, no path and no caption.
        output: the version that training fills.
    """

    def __init__(self, config: Config, output: Version) -> None:
        try:
            import wandb
        except ImportError:
            raise RuntimeError("wandb is not installed; it is in the extra vapray[tracking]") from None
        tree = config.model_dump(mode="json")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "vapray"),
            id=f"{output.fingerprint[:16]}-{hashlib.sha256(output.uri.encode()).hexdigest()[:8]}",
            resume="allow",
            dir=os.environ.get("WANDB_DIR", tempfile.gettempdir()),
            config={name: tree[name] for name in ("model", "diffusion", "train")},
            settings=wandb.Settings(console="off", silent=True, disable_git=True, disable_code=True),
        )
        self._run.define_metric("validation_distance", step_metric="validation_step")
        self._newest = 0

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Send values of a step; a run's steps only rise, so a late validation says its own."""
        late: dict[str, Any] = {"validation_step": step} if "validation_distance" in values else {}
        self._newest = max(self._newest, step)
        self._run.log({name: value for name, value in values.items() if name != "step"} | late, step=self._newest)

    def close(self) -> None:
        """End the run."""
        self._run.finish()
