"""Jobs sent to a cluster from outside, and waiting for what they do."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["SECONDS", "Job", "until"]

SECONDS = 120


def until(condition: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
    """Poll ``condition`` and return its first true value."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.2)
    return found


class Job:
    """A command that ``ray job submit`` has sent from outside and follows."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, name: str) -> None:
        self._process, self._log, self.name = process, log, name

    def said(self) -> str:
        """All that has come back so far."""
        return self._log.read_text(errors="replace")

    def is_running(self) -> bool:
        """True while ``ray job submit`` follows it."""
        return self._process.poll() is None

    def wait(self, seconds: float = 420) -> int:
        """Exit code of ``ray job submit``."""
        return self._process.wait(seconds)

    def leave(self) -> None:
        """Stop following."""
        self._process.kill()
        self._process.wait()
