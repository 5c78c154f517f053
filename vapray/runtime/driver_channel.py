"""Message channel between workers on the cluster and their driver, held by a Ray actor."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vapray.errors import VaprayError
from vapray.runtime.progress import StageProgress

__all__ = ["DriverChannel", "open_driver_channel"]


class DriverChannel:
    """Message channel: workers report progress, log lines and failures; the driver requests a checkpoint."""

    def __init__(self) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        beside_the_driver = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor: Any = ray.remote(num_cpus=0)(_ChannelActor)
        self._actor = actor.options(scheduling_strategy=beside_the_driver).remote()  # the other nodes may be lost

    def report_progress(self, done: int, detail: str) -> None:
        """Worker: report progress; does not wait."""
        self._actor.set.remote("progress", (done, detail))

    def log(self, line: str) -> None:
        """Worker: have the driver print a line; does not wait."""
        self._actor.add_line.remote(line)

    def lines(self) -> list[str]:
        """Driver: lines logged since the last call."""
        return self._ask("take_lines", default=[])

    def request_checkpoint(self) -> None:
        """Driver: request a checkpoint now."""
        self._actor.set.remote("asked", True)

    def checkpoint_requested(self) -> bool:
        """Worker: True once the driver has requested a checkpoint."""
        return self._get("asked", False)

    def fail(self, error: VaprayError) -> None:
        """Worker: report an error that makes further work useless; waits until the actor has stored it."""
        self._ask("set", "failure", error, default=None)

    def get_failure(self) -> VaprayError | None:
        """Driver: the error that a worker reported, or None."""
        return self._get("failure", None)

    def confirm_checkpoint(self, step: int) -> None:
        """Worker: confirm that the requested checkpoint is written."""
        self._actor.set.remote("saved", step)

    def saved(self) -> int | None:
        """Driver: step of the requested checkpoint, or None until it is written."""
        return self._get("saved", None)

    def progress(self) -> tuple[int, str] | None:
        """Driver: the newest progress report, or None."""
        return self._get("progress", None)

    def close(self) -> None:
        """End the actor."""
        import ray

        ray.kill(self._actor)

    def _get(self, name: str, default: Any) -> Any:
        return self._ask("get", name, default, default=default)

    def _ask(self, method: str, *arguments: Any, default: Any) -> Any:
        import ray

        try:
            return ray.get(getattr(self._actor, method).remote(*arguments), timeout=10)
        except ray.exceptions.RayError:  # the actor ended with its driver, or is late
            return default


class _ChannelActor:
    def __init__(self) -> None:
        self._notes: dict[str, Any] = {}
        self._lines: list[str] = []

    def add_line(self, line: str) -> None:
        self._lines.append(line)

    def take_lines(self) -> list[str]:
        lines, self._lines = self._lines, []
        return lines

    def set(self, name: str, value: Any) -> None:
        self._notes[name] = value

    def get(self, name: str, default: Any) -> Any:
        return self._notes.get(name, default)


@contextmanager
def open_driver_channel(progress: StageProgress) -> Iterator[DriverChannel]:
    """Open a channel whose progress reports and lines appear in ``progress``, for the time of a ``with`` block."""
    channel = DriverChannel()
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(channel, progress, stop), daemon=True)
    watcher.start()
    try:
        yield channel
    finally:
        stop.set()
        watcher.join()
        _print_lines(channel, progress)
        channel.close()


def _watch(channel: DriverChannel, progress: StageProgress, stop: threading.Event) -> None:
    shown = None
    while not stop.wait(0.5):
        _print_lines(channel, progress)
        newest = channel.progress()
        if newest and newest != shown:
            progress.set_done(*newest)
            shown = newest


def _print_lines(channel: DriverChannel, progress: StageProgress) -> None:
    for line in channel.lines():
        progress.log(line)
