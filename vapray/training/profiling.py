"""Trace of some training steps, for https://ui.perfetto.dev or chrome://tracing."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from torch.profiler import ProfilerActivity, profile, schedule

from vapray.training.rank_context import RankContext

__all__ = ["profiled"]

STEPS_BEFORE = 5
"""Steps before the first recorded one, which compile, allocate and choose kernels."""


class _Steps(Protocol):
    def step(self) -> None:
        """Note the end of a step."""


class _Nothing:
    def step(self) -> None:
        pass


@contextmanager
def profiled(steps: int, context: RankContext) -> Iterator[_Steps]:
    """Record ``steps`` steps of rank 0 and store their trace.

    Yields:
        An object whose ``step`` is called after each step.
    """
    if not steps or context.rank:
        yield _Nothing()
        return

    def store(profiler: profile) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trace.json.gz"
            profiler.export_chrome_trace(str(path))
            context.save_trace(path.read_bytes())

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if context.device.type == "cuda" else [])]
    plan = schedule(skip_first=STEPS_BEFORE - 1, wait=0, warmup=1, active=steps, repeat=1)
    with profile(activities=activities, schedule=plan, on_trace_ready=store) as profiler:
        yield profiler
