"""Cost estimate of a stage before it runs, calibrated by an earlier run.

Each package's ``forecast.py`` holds a pure ``forecast(Outlook) -> Forecast``. It counts rows exactly and estimates
their cost at the rates of a two-core laptop, measured with the demo. If this run root has finished the same stage
before, the rate of that run replaces them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from vapray.config import Config, Pool
from vapray.store import Manifest

__all__ = [
    "FLOPS_OF_A_CORE",
    "WORKSPACE_BYTES",
    "Forecast",
    "Images",
    "Outlook",
    "by_last_run",
    "flop_rate",
    "of_pool",
    "part_overhead",
    "rest_of",
]

LAPTOP = "laptop"
LAST_RUN = "last run"
ASSUMED_GPU = "10 TFLOP/s"
FLOPS_OF_A_CORE = 20e9
FLOPS_OF_A_GPU = 10e12
# A finished run gives a rate if it took at least this many times its estimated startup.
SHORT = 3
# Memory of torch's allocator and kernels beyond tensors, from the first step on.
WORKSPACE_BYTES = 32_000_000
BYTES_OF_A_PART, BYTES_OF_A_MANIFEST = 4000, 3000


@dataclass(frozen=True)
class Images:
    """Counts of the labelled images of a run, not yet decoded.

    Attributes:
        splits: Number of images of each split.
        num_classes: Number of classes K.
        pixels: Mean number of pixels per image.
    """

    splits: Mapping[str, int]
    num_classes: int
    pixels: float

    @property
    def count(self) -> int:
        """Number of images in all splits."""
        return sum(self.splits.values())

    @property
    def held_out(self) -> int:
        """Number of images in the split that evaluation compares with."""
        return self.splits.get("test") or self.splits.get("validation", 0)


@dataclass(frozen=True)
class Outlook:
    """Facts about a stage's inputs that are known before it runs.

    Attributes:
        config: Complete config.
        images: Counts of the labelled images.
        rows: Rows of each earlier table: counted if it is finished, else estimated.
    """

    config: Config
    images: Images
    rows: Mapping[str, int]


@dataclass(frozen=True)
class Forecast:
    """Estimated cost of a stage.

    Attributes:
        rows: Number of rows, as the manifest will count them.
        part_bytes: Size of the table's parts, in bytes.
        file_bytes: Size of all other files below the run root, in bytes.
        startup_seconds: Time until the first row, in seconds.
        work_seconds: Time for the rows, in seconds.
        peak_bytes: Peak memory of images, weights and activations in one worker, in bytes.
        workers: Maximum number of workers.
        device: ``CPU`` or ``GPU``.
        basis: Source of the rates.
    """

    rows: int
    part_bytes: float
    file_bytes: float
    startup_seconds: float
    work_seconds: float
    peak_bytes: float
    workers: int = 1
    device: str = "CPU"
    basis: str = LAPTOP

    @property
    def bytes_written(self) -> int:
        """Total size of the written files, in bytes."""
        return round(self.part_bytes + self.file_bytes)

    @property
    def seconds(self) -> float:
        """Total time, in seconds."""
        return self.startup_seconds + self.work_seconds


def by_last_run(now: Forecast, then: Forecast, last: Manifest) -> Forecast:
    """Calibrate an estimate by a finished run of the same stage.

    Args:
        now: Estimate at the laptop's rates.
        then: The same for the settings of the finished run, to compare the work per row.
        last: Manifest of the finished run.

    Returns:
        ``now`` at the rates of the finished run; unchanged if that run has no rows.
    """
    if not last.rows or not then.rows or not then.work_seconds:
        return now
    work_of_last = then.work_seconds / then.rows * last.rows
    if last.seconds < SHORT * then.startup_seconds:
        # Startup dominated the last run, so its rate does not predict a longer run.
        more = max(0.0, now.work_seconds - work_of_last)
        basis = LAST_RUN if more < last.seconds else now.basis
        timed = replace(now, startup_seconds=last.seconds, work_seconds=more, basis=basis)
    else:
        measured = (last.seconds - then.startup_seconds) / work_of_last
        timed = replace(now, work_seconds=now.work_seconds * measured, basis=LAST_RUN)
    bytes_of_last = sum(part.bytes for part in last.parts)
    guessed = then.part_bytes / then.rows * last.rows
    return replace(timed, part_bytes=now.part_bytes * bytes_of_last / guessed) if bytes_of_last else timed


def rest_of(forecast: Forecast, done: int) -> Forecast:
    """Estimate of the work left after ``done`` committed rows; ``rows`` stays the total. Unchanged without rows."""
    left = 1 - min(done, forecast.rows) / forecast.rows if forecast.rows else 1.0
    return replace(
        forecast,
        part_bytes=forecast.part_bytes * left,
        file_bytes=forecast.file_bytes * left,
        work_seconds=forecast.work_seconds * left,
    )


def of_pool(pool: Pool) -> tuple[int, str]:
    """Maximum number of actors of a pool, and their device."""
    return pool.max_size, "GPU" if pool.num_gpus else "CPU"


def flop_rate(device: str) -> tuple[float, str]:
    """Floating-point operations per second of one worker, and the name of that assumption."""
    return (FLOPS_OF_A_GPU, ASSUMED_GPU) if device == "GPU" else (FLOPS_OF_A_CORE, LAPTOP)


def part_overhead(rows: int, pool: Pool) -> int:
    """Size of parts beyond their rows, in bytes: schemas, statistics, the manifest."""
    return BYTES_OF_A_MANIFEST + BYTES_OF_A_PART * -(-rows // pool.batch_rows)
