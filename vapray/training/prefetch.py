"""Preparation of the next micro-batches during a training step."""

import time
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from vapray.config import Train
from vapray.training.batches import Batch, Batches, micro_batches

__all__ = ["Prefetch"]


class Prefetch:
    """Batches of a rank, prepared ahead in a thread: drawn, split into micro-batches, padded, and pinned for a GPU.

    The batches do not change, since each depends on its step only. An error in the preparation of a batch is raised
    when that batch is requested. The thread ends with this object.

    Args:
        batches: batches of the rank.
        settings: section ``train``; of ``prefetch`` batches, none: no thread.
        max_tokens: maximum number of tokens of a caption.
        device: target device; for a GPU batches are in pinned memory.

    Attributes:
        wait_seconds: total time spent waiting for batches, in seconds.
    """

    def __init__(self, batches: Batches, settings: Train, *, max_tokens: int, device: torch.device) -> None:
        self._batches, self._settings, self._max_tokens, self._device = batches, settings, max_tokens, device
        self._thread = ThreadPoolExecutor(1, "batches") if settings.prefetch else None
        self._coming: dict[int, Future[list[Batch]]] = {}
        self.wait_seconds = 0.0

    def at(self, step: int) -> list[Batch]:
        """Get the micro-batches of a step (from 0)."""
        began = time.perf_counter()
        try:
            return self._prepare(step) if self._thread is None else self._coming_at(step, self._thread)
        finally:
            self.wait_seconds += time.perf_counter() - began

    def _coming_at(self, step: int, thread: ThreadPoolExecutor) -> list[Batch]:
        for soon in range(step, min(step + self._settings.prefetch, self._settings.steps - 1) + 1):
            if soon not in self._coming:
                self._coming[soon] = thread.submit(self._prepare, soon)
        return self._coming.pop(step).result()

    def _prepare(self, step: int) -> list[Batch]:
        parts = micro_batches(self._batches.at(step), self._settings, self._max_tokens)
        return [part.pinned() for part in parts] if self._device.type == "cuda" else parts
