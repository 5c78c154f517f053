"""A rank's ways to the world: rank 0 reports, tracks, saves, and listens to the driver."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from vapray.board import Board
from vapray.checkpoint import write_step
from vapray.training.job import TrainingJob
from vapray.training.state import TrainingState
from vapray.training.tracking import tracked
from vapray.training.worker import Worker

__all__ = ["worker_of"]


@contextmanager
def worker_of(job: TrainingJob, rank: int, world: int, device: torch.device, state: TrainingState) -> Iterator[Worker]:
    """A rank's worker, for the time of its training from ``state`` on."""
    if rank:
        yield Worker(rank, world, device, report=_nothing, save=_nothing, validate=job.validate)
        return
    asked = threading.Event()
    threading.Thread(target=_listen, args=(job.board, asked), daemon=True).start()
    if state.step or world < job.config.train.workers:
        job.board.say(f"{world} of {job.config.train.workers} workers train from step {state.step:,}")
    with tracked(job.config, job.output, state, job.board.say) as track:

        def report(step: int, point: Mapping[str, float]) -> None:
            job.board.post(step, f"loss {point['loss']:.4f}, {point['images_per_second']:.0f} images/s")
            track(step, point)

        def save(step: int, files: Mapping[str, bytes]) -> None:
            write_step(job.output.files, job.steps_folder, step, files, keep=job.config.train.keep_checkpoints)

        def is_save_asked() -> bool:
            if not asked.is_set():
                return False
            asked.clear()
            return True

        say_saved = job.board.say_saved
        yield Worker(rank, world, device, report, save, is_save_asked, job.validate, say_saved, track)


def _nothing(step: int, values: Mapping[str, Any]) -> None:
    """For ranks that neither report nor save."""


def _listen(board: Board, asked: threading.Event) -> None:
    """A driver asks at most once, then it ends."""
    while not board.is_asked_to_save():
        time.sleep(0.5)
    asked.set()
