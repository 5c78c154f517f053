"""The next batches, prepared beside the training step."""

import time
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from vapray.training.batches import Batch, Batches

__all__ = ["Prefetch"]


class Prefetch:
    """The batches of a rank, some of them ahead of their time on a thread of their own.

    They are the same batches: each follows from its step alone. An error in preparing one is raised where that one is
    asked for. The thread ends with this object.

    Args:
        batches: of the rank.
        ahead: how many are prepared before they are asked for; 0 for none, and no thread.
        end: the step behind the last one.
        device: where they will go; for a GPU they lie in pinned memory.

    Attributes:
        wait_seconds: how long was waited for batches so far.
    """

    def __init__(self, batches: Batches, *, ahead: int, end: int, device: torch.device) -> None:
        self._batches, self._ahead, self._end, self._device = batches, ahead, end, device
        self._thread = ThreadPoolExecutor(1, "batches") if ahead else None
        self._coming: dict[int, Future[Batch]] = {}
        self.wait_seconds = 0.0

    def at(self, step: int) -> Batch:
        """The batch of a step (from 0)."""
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
