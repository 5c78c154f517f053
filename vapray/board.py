"""A board that work on the cluster and its driver both read and write."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vapray.errors import VaprayError
from vapray.progress import StageProgress

__all__ = ["Board", "watched"]


class Board:
    """Where work on the cluster says how far it is, and where it hears that its driver is about to end."""

    def __init__(self) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        beside_the_driver = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor: Any = ray.remote(num_cpus=0)(_BoardActor)
        self._actor = actor.options(scheduling_strategy=beside_the_driver).remote()  # any other node may be lost

    def post(self, done: int, detail: str) -> None:
        """Say how far the work is; does not wait."""
        self._actor.set.remote("progress", (done, detail))

    def say(self, line: str) -> None:
        """Have the driver print a line; does not wait."""
        self._actor.add_line.remote(line)

    def lines(self) -> list[str]:
        """Driver: what was said since the last call."""
        return self._ask("take_lines", default=[])

    def ask_to_save(self) -> None:
        """Driver: ask for a checkpoint now."""
        self._actor.set.remote("asked", True)

    def is_asked_to_save(self) -> bool:
        """Worker: whether the driver asked."""
        return self._get("asked", False)

    def fail(self, error: VaprayError) -> None:
        """Worker: say what makes going on useless; waits until it is on the board."""
        self._ask("set", "failure", error, default=None)

    def failure(self) -> VaprayError | None:
        """What a worker said of it."""
        return self._get("failure", None)

    def say_saved(self, step: int) -> None:
        """Worker: the checkpoint that was asked for is written."""
        self._actor.set.remote("saved", step)

    def saved(self) -> int | None:
        """Driver: the step that was saved after asking, None while there is none."""
        return self._get("saved", None)

    def progress(self) -> tuple[int, str] | None:
        """The newest that was posted."""
        return self._get("progress", None)

    def close(self) -> None:
        """End the board."""
        import ray

        ray.kill(self._actor)

    def _get(self, name: str, default: Any) -> Any:
        return self._ask("get", name, default, default=default)

    def _ask(self, method: str, *arguments: Any, default: Any) -> Any:
        import ray

        try:
            return ray.get(getattr(self._actor, method).remote(*arguments), timeout=10)
        except ray.exceptions.RayError:  # the board went with the driver, or is late
            return default


class _BoardActor:
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
def watched(progress: StageProgress) -> Iterator[Board]:
    """A board for work elsewhere on the cluster; what is posted on it moves this progress."""
    board = Board()
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(board, progress, stop), daemon=True)
    watcher.start()
    try:
        yield board
    finally:
        stop.set()
        watcher.join()
        _print_lines(board, progress)
        board.close()


def _watch(board: Board, progress: StageProgress, stop: threading.Event) -> None:
    shown = None
    while not stop.wait(0.5):
        _print_lines(board, progress)
        newest = board.progress()
        if newest and newest != shown:
            progress.reach(*newest)
            shown = newest


def _print_lines(board: Board, progress: StageProgress) -> None:
    for line in board.lines():
        progress.say(line)
