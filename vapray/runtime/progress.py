"""Progress display of running stages: a bar in a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

__all__ = ["Display", "StageProgress"]

SECONDS_BETWEEN_LINES = 10.0


class StageProgress:
    """Progress of one stage, in rows or another unit.

    Args:
        name: Name of the stage.
        bar: Progress bars of the terminal; None prints plain lines.
    """

    def __init__(self, name: str, bar: Progress | None) -> None:
        self.name, self._bar = name, bar
        self._task: TaskID | None = None
        self._done, self._total, self._unit = 0, 0, "rows"
        self._begin = self._last_line = time.monotonic()

    def set_total(self, total: int, unit: str = "rows", *, done: int = 0) -> None:
        """Set the total, and the number that an earlier run has done."""
        self._done, self._total, self._unit = done, total, unit
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task(self.name, detail="")
            self._bar.update(self._task, total=total, completed=done, detail=unit)
        elif done:
            self.log(f"continuing: {done:,} of {total:,} {unit} already done")

    def advance(self, count: int = 1, detail: str = "") -> None:
        """Add ``count`` to the number done."""
        self.set_done(self._done + count, detail)

    def set_done(self, done: int, detail: str = "") -> None:
        """Set the number done."""
        self._done = done
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, detail=f"{self._unit} {detail}")
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self.log(f"{done:,} of {self._total:,} {self._unit} {detail}".rstrip())

    def log(self, line: str) -> None:
        """Print a line, prefixed with the stage's name."""
        if self._bar is not None:
            self._bar.console.print(f"  {self.name}: {line}", highlight=False, markup=False)
        else:
            print(f"[{self.name}] {line}", flush=True)


class Display:
    """Progress output of a complete run, on stdout."""

    def __init__(self) -> None:
        self._console = Console(stderr=False)
        self._for_person = sys.stdout.isatty()

    def print(self, text: str) -> None:
        """Print a line."""
        print(text, flush=True)

    @contextmanager
    def stage(self, name: str) -> Iterator[StageProgress]:
        """Show the progress of one stage for the time of a ``with`` block."""
        if not self._for_person:
            yield StageProgress(name, None)
            return
        columns = (
            TextColumn("[bold]{task.description:<12}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as bar:
            yield StageProgress(name, bar)
