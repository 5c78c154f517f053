"""Times on a device, in parts that begin while time is left."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["Measurement"]


class Measurement:
    """Values so far, and the time that is left."""

    def __init__(self, device: torch.device, minutes: float, repetitions: int) -> None:
        self.device, self._end, self._repetitions = device, time.monotonic() + 60 * minutes, repetitions
        self.values: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[bool]:
        """Yield True if a part may begin; a part that fails leaves a line."""
        if time.monotonic() > self._end:
            print(f"{name}: left out, the time is over", flush=True)
            yield False
            return
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        try:
            yield True
        except RuntimeError as error:
            print(f"{name}: failed: {str(error).splitlines()[0]}", flush=True)

    def seconds(self, work: Callable[[], object], warm: int = 3) -> tuple[float, float]:
        """Median seconds of a call, and those after which it has returned."""
        for _ in range(warm):
            work()
        whole, launched = [], []
        for _ in range(self._repetitions):
            self.wait()
            began = time.perf_counter()
            work()
            launched.append(time.perf_counter() - began)
            self.wait()
            whole.append(time.perf_counter() - began)
        return float(np.median(whole)), float(np.median(launched))

    def throughput(self, work: Callable[[], object]) -> float:
        """Seconds of a call, when one follows another without a wait."""
        self.wait()
        began = time.perf_counter()
        for _ in range(self._repetitions):
            work()
        self.wait()
        return (time.perf_counter() - began) / self._repetitions

    def note(self, line: str, **values: float) -> None:
        """Print a line and keep its values."""
        print(line, flush=True)
        self.values |= values

    def gib(self) -> float:
        """Most memory of the device since the part began."""
        return torch.cuda.max_memory_allocated(self.device) / 2**30 if self.device.type == "cuda" else 0.0

    def wait(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
