"""What a stage would cost, before it runs: the shape of an estimate, and how an earlier run sharpens it.

Each room's ``forecast.py`` holds a pure ``forecast(Outlook) -> Forecast``. It counts rows exactly, and prices them at
the rates of a two-core laptop, measured with the demo. Where this run root has finished the same stage before, that
run's own rate takes their place.
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
# A finished run tells a rate when its start took less than this part of it.
SHORT = 3
# What torch's allocator and kernels hold beyond tensors, from the first step on.
WORKSPACE_BYTES = 32_000_000
BYTES_OF_A_PART, BYTES_OF_A_MANIFEST = 4000, 3000


@dataclass(frozen=True)
class Images:
    """The labelled pictures of a run, not yet decoded.

    Attributes:
        splits: pictures of each split.
        num_classes: K.
        pixels: of one picture, the mean.
    """

    splits: Mapping[str, int]
    num_classes: int
    pixels: float

    @property
    def count(self) -> int:
        """Over all splits."""
        return sum(self.splits.values())

    @property
    def held_out(self) -> int:
        """Of the split that evaluation compares with."""
        return self.splits.get("test") or self.splits.get("validation", 0)


@dataclass(frozen=True)
class Outlook:
    """What can be known of a stage's inputs before it runs.

    Attributes:
        config: the tree.
        images: the pictures.
        rows: of each table before it: counted where it is finished, else forecast.
    """

    config: Config
    images: Images
    rows: Mapping[str, int]


@dataclass(frozen=True)
class Forecast:
    """What a stage would do.

    Attributes:
        rows: as its manifest will count them.
        part_bytes: of the table's parts.
        file_bytes: of everything else below the run's root.
        startup_seconds: until the first row.
        work_seconds: for the rows.
        peak_bytes: of pictures, weights and activations in one worker at its fullest.
        workers: at the most.
        device: ``CPU`` or ``GPU``.
        basis: where the rates come from.
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
        """All that it writes."""
        return round(self.part_bytes + self.file_bytes)

    @property
    def seconds(self) -> float:
        """From its start to its end."""
        return self.startup_seconds + self.work_seconds


def by_last_run(now: Forecast, then: Forecast, last: Manifest) -> Forecast:
    """Price ``now`` by a finished run of the same stage.

    Args:
        now: by the laptop's rates.
        then: the same for the settings of the finished run, so that the work in a row can be compared.
        last: what the finished run left.
    """
    if not last.rows or not then.rows or not then.work_seconds:
        return now
    work_of_last = then.work_seconds / then.rows * last.rows
    if last.seconds < SHORT * then.startup_seconds:
        # Its start took most of it. That much again is likely, but says little about a longer run.
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
    """What is left of it when so many rows are committed; ``rows`` stays the whole. Without rows, all of it."""
    left = 1 - min(done, forecast.rows) / forecast.rows if forecast.rows else 1.0
    return replace(
        forecast,
        part_bytes=forecast.part_bytes * left,
        file_bytes=forecast.file_bytes * left,
        work_seconds=forecast.work_seconds * left,
    )


def of_pool(pool: Pool) -> tuple[int, str]:
    """How many actors at the most, and on what."""
    return pool.max_size, "GPU" if pool.num_gpus else "CPU"


def flop_rate(device: str) -> tuple[float, str]:
    """Floating-point operations a second of one worker, and the name of that assumption."""
    return (FLOPS_OF_A_GPU, ASSUMED_GPU) if device == "GPU" else (FLOPS_OF_A_CORE, LAPTOP)


def part_overhead(rows: int, pool: Pool) -> int:
    """Bytes that parts cost beyond their rows: schemas, statistics, the manifest."""
    return BYTES_OF_A_MANIFEST + BYTES_OF_A_PART * -(-rows // pool.batch_rows)
