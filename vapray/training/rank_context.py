"""Worker of a rank: rank 0 reports, tracks, saves, and receives requests of the driver."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from vapray.runtime.driver_channel import DriverChannel
from vapray.store.checkpoint import save_training_state
from vapray.training.job import TrainingJob
from vapray.training.state import TrainingState
from vapray.training.tracking import tracked
from vapray.training.worker import RankContext

__all__ = ["open_rank_context"]


@contextmanager
def open_rank_context(
    job: TrainingJob, rank: int, world: int, device: torch.device, state: TrainingState
) -> Iterator[RankContext]:
    """Create a rank's worker for training from ``state`` on."""
    if rank:
        yield RankContext(rank, world, device, report=_nothing, save=_nothing, validate=job.validate)
        return
    asked = threading.Event()
    threading.Thread(target=_listen, args=(job.board, asked), daemon=True).start()
    if state.step or world < job.config.train.workers:
        job.board.log(f"{world} of {job.config.train.workers} workers train from step {state.step:,}")
    with tracked(job.config, job.output, state, job.board.log) as track:

        def report(step: int, point: Mapping[str, float]) -> None:
            job.board.report_progress(step, f"loss {point['loss']:.4f}, {point['images_per_second']:.0f} images/s")
            track(step, point)

        def save(step: int, files: Mapping[str, bytes]) -> None:
            save_training_state(job.output.files, job.steps_folder, step, files, keep=job.config.train.keep_checkpoints)

        def say_saved(step: int) -> None:
            asked.clear()
            job.board.confirm_checkpoint(step)

        yield RankContext(rank, world, device, report, save, asked.is_set, job.validate, say_saved, track)


def _nothing(step: int, values: Mapping[str, Any]) -> None:
    """Do nothing, on ranks that neither report nor save."""


def _listen(board: DriverChannel, asked: threading.Event) -> None:
    """Wait for a checkpoint request of the driver, which requests at most one and then ends."""
    while not board.checkpoint_requested():
        time.sleep(0.5)
    asked.set()
