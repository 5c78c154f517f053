"""Inputs and result of the estimate of one stage."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from vapray.capacity.constants import Cost
from vapray.capacity.plan import Plan
from vapray.config import Config
from vapray.runtime.forecast import Forecast, Images
from vapray.store.object_files import FETCHED_WHOLE_BYTES

__all__ = ["ONE_PROCESS", "StageEstimate", "TableSize", "Workload", "slowest"]

ONE_PROCESS = "one process"
"""Cause of a phase that is the work of one process, without GPUs."""


@dataclass(frozen=True)
class Workload:
    """Plan, settings of the run, images, forecast of each stage with one worker, and constants."""

    plan: Plan
    config: Config
    images: Images
    forecasts: Mapping[str, Forecast]
    constants: Mapping[str, Cost]


@dataclass(frozen=True)
class TableSize:
    """Rows, parts and bytes of a table whose parts have about equal size."""

    rows: int
    parts: int
    bytes: float

    def items(self, batch_rows: int) -> int:
        """Return the number of work items of at most ``batch_rows`` rows; an item takes rows of one part."""
        return self.parts * math.ceil(math.ceil(self.rows / self.parts) / batch_rows)

    @property
    def gets_per_part(self) -> int:
        """GET requests to read some columns of a part: its size and its bytes, or ranges of a large part."""
        return 2 if self.bytes / self.parts <= FETCHED_WHOLE_BYTES else 5


@dataclass(frozen=True)
class StageEstimate:
    """Time, hardware, store traffic and memory of one stage.

    Attributes:
        gpus: GPUs held while the stage runs, except for its work in one process; 0 for a stage on CPUs.
        phases: seconds of consecutive phases, by the cause that limits each.
        bytes_read: bytes read from the store, images included.
        puts: PUT requests, without those that keep the lease.
        gets: GET and HEAD requests.
        driver_bytes: peak memory of the driver.
        process_bytes: peak memory of the largest process on a node.
        disk_bytes: local disk of a node.
    """

    stage: str
    workers: int
    gpus: int
    phases: Mapping[str, Cost]
    bytes_read: Cost
    bytes_written: float
    puts: float
    gets: float
    driver_bytes: Cost
    process_bytes: Cost
    disk_bytes: float = 0

    @property
    def hours(self) -> float:
        """Duration of the stage."""
        return sum(seconds.value for seconds in self.phases.values()) / 3600

    @property
    def gpu_hours(self) -> float:
        """Hours times GPUs; actors release theirs before the work in one process."""
        alone = self.phases.get(ONE_PROCESS)
        return self.gpus * (self.hours - (alone.value / 3600 if alone else 0))

    @property
    def constants(self) -> frozenset[str]:
        """Names of the constants that the estimate was computed from."""
        costs = (*self.phases.values(), self.bytes_read, self.driver_bytes, self.process_bytes)
        return frozenset[str]().union(*(cost.constants for cost in costs))

    def limited_by(self, plan: Plan) -> str:
        """Return the first limit that the stage exceeds, or else the cause of its longest phase."""
        return next(iter(self.exceeded(plan)), slowest(self.phases)[0])

    def exceeded(self, plan: Plan) -> dict[str, str]:
        """Return the limits of the plan that the stage exceeds, each with the amount needed."""
        needed = {
            "driver memory": (self.driver_bytes.value / 1e9, plan.driver_memory_gb),
            "node memory": (self.process_bytes.value / 1e9, plan.node_memory_gb),
            "node disk": (self.disk_bytes / 1e9, plan.node_disk_gb),
        }
        return {name: f"{gb:,.0f} GB of {limit:,.0f} GB" for name, (gb, limit) in needed.items() if gb > limit}


def slowest(seconds: Mapping[str, Cost]) -> tuple[str, Cost]:
    """Return the entry with the largest value."""
    return max(seconds.items(), key=lambda entry: entry[1].value)
