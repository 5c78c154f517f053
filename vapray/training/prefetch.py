"""Preparation of the next batches during a training step."""

import time
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from vapray.training.batches import Batch, Batches

__all__ = ["Prefetch"]


class Prefetch:
    """Batches of a rank, prepared ahead in a thread.

    The batches do not change, since each depends on its step only. An error in the preparation of a batch is raised
    when that batch is requested. The thread ends with this object.

    Args:
        batches: batches of the rank.
        ahead: number of batches to prepare before they are requested; 0: none, and no thread.
        end: number of steps.
        device: target device; for a GPU batches are in pinned memory.

    Attributes:
        wait_seconds: total time spent waiting for batches, in seconds.
    """

    def __init__(self, batches: Batches, *, ahead: int, end: int, device: torch.device) -> None:
        self._batches, self._ahead, self._end, self._device = batches, ahead, end, device
        self._thread = ThreadPoolExecutor(1, "batches") if ahead else None
        self._coming: dict[int, Future[Batch]] = {}
        self.wait_seconds = 0.0

    def at(self, step: int) -> Batch:
        """Get the batch of a step (from 0)."""
        began = time.perf_counter()
        try:
            return self._prepare(step) if self._thread is None else self._coming_at(step, self._thread)
        finally:
            self.wait_seconds += time.perf_counter() - began

    def _coming_at(self, step: int, thread: ThreadPoolExecutor) -> Batch:
        for soon in range(step, min(step + self._ahead, self._end - 1) + 1):
            if soon not in self._coming:
                self._coming[soon] = thread.submit(self._prepare, soon)
        return self._coming.pop(step).result()

    def _prepare(self, step: int) -> Batch:
        batch = self._batches.at(step)
        return batch.pinned() if self._device.type == "cuda" else batch
