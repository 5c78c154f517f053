"""Connection of a rank's training loop to the driver, the trackers and the files; rank 0 alone uses it."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from vapray.store.checkpoint import save_training_state
from vapray.training.job import TrainingJob
from vapray.training.network import Network
from vapray.training.state import TrainingState
from vapray.training.tracking import tracked

__all__ = ["RankContext", "open_rank_context"]


@dataclass
class RankContext:
    """Context of a rank other than 0, which reports and saves nothing.

    Attributes:
        rank: number of this rank, 0..world-1.
        world: number of ranks; above 1 a torch process group exists.
        device: device of the model.
        validate: computes ``validation_distance`` of the EMA network, and more; rank 0 calls it in the background
            thread; None: no validation.
        step_flops: floating-point operations of a step of this rank; None: not counted.
    """

    rank: int
    world: int
    device: torch.device
    validate: Callable[[Network], Mapping[str, float]] | None
    step_flops: float | None = None

    def report(self, step: int, point: Mapping[str, float]) -> None:
        """Report a point of the learning curve."""

    def log_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Track values that are not a point of the learning curve."""

    def save(self, step: int, files: Mapping[str, bytes]) -> None:
        """Store the files of the training state after ``step`` steps; called in a background thread."""

    def save_trace(self, trace: bytes) -> None:
        """Store a trace of ``train.profile_steps`` steps, gzipped JSON."""

    def checkpoint_requested(self) -> bool:
        """Return whether a checkpoint is requested out of turn, until ``confirm_checkpoint``."""
        return False

    def confirm_checkpoint(self, step: int) -> None:
        """Confirm that the requested checkpoint is stored."""


class RankZero(RankContext):
    """Context of rank 0.

    Args:
        job: job of the run.
        world: number of ranks.
        device: device of the model.
        log: log function of the tracker.
    """

    def __init__(
        self,
        job: TrainingJob,
        world: int,
        device: torch.device,
        log: Callable[[int, Mapping[str, float]], None],
        step_flops: float | None = None,
    ) -> None:
        super().__init__(0, world, device, job.validate, step_flops)
        self._job, self._log = job, log
        self._requested = threading.Event()
        threading.Thread(target=self._wait_for_request, daemon=True).start()

    def report(self, step: int, point: Mapping[str, float]) -> None:
        """Report a point to the driver and to the tracker."""
        self._job.board.report_progress(step, f"loss {point['loss']:.4f}, {point['images_per_second']:.0f} images/s")
        self._log(step, point)

    def log_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Send values to the tracker."""
        self._log(step, values)

    def save(self, step: int, files: Mapping[str, bytes]) -> None:
        """Write a training state, and remove old ones."""
        job = self._job
        save_training_state(job.output.files, job.steps_folder, step, files, keep=job.config.train.keep_checkpoints)

    def save_trace(self, trace: bytes) -> None:
        """Write the trace beside the training states."""
        path = f"{self._job.output.folder}/files/profile/steps.json.gz"
        self._job.output.files.write(path, trace)
        self._job.board.log(
            f"trace of {self._job.config.train.profile_steps} steps: {self._job.output.files.path(path)}"
        )

    def checkpoint_requested(self) -> bool:
        """Return whether the driver requested a checkpoint that is not confirmed."""
        return self._requested.is_set()

    def confirm_checkpoint(self, step: int) -> None:
        """Send the step of the checkpoint to the driver."""
        self._requested.clear()
        self._job.board.confirm_checkpoint(step)

    def _wait_for_request(self) -> None:
        """Wait for a checkpoint request of the driver, which requests at most one and then ends."""
        while not self._job.board.checkpoint_requested():
            time.sleep(0.5)
        self._requested.set()


@contextmanager
def open_rank_context(
    job: TrainingJob,
    rank: int,
    world: int,
    device: torch.device,
    state: TrainingState,
    step_flops: float | None = None,
) -> Iterator[RankContext]:
    """Create a rank's context for training from ``state`` on; ``step_flops`` as in :class:`RankContext`."""
    if rank:
        yield RankContext(rank, world, device, job.validate, step_flops)
        return
    if device.type == "cuda" and job.config.train.precision == "float32":
        job.board.log(
            "train.precision is float32, in which GPUs take about ten times as long for matrix products; set bfloat16"
        )
    if state.step or world < job.config.train.workers:
        job.board.log(f"{world} of {job.config.train.workers} workers train from step {state.step:,}")
    with tracked(job.config, job.output, state, job.board.log) as log:
        yield RankZero(job, world, device, log, step_flops)
