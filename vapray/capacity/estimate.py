"""What a stage would take: seconds by cause, hours, money, requests, bytes, and what gives way first."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vapray.capacity.figures import Figure
from vapray.capacity.plan import Plan
from vapray.capacity.requests import Requests

__all__ = ["ADVICE", "Estimate", "StageEstimate", "fields_of"]

HOUR, GIGABYTE = 3600.0, 1e9

ADVICE = {
    "GPU": "more GPUs help until something else is the bottleneck",
    "cores": "more cores help until something else is the bottleneck",
    "picture decoding": "the GPU waits for one core: raise the pool's overlap, or give an actor a part of a GPU "
    "(num_gpus below 1)",
    "picture writing": "more actors on a GPU (num_gpus below 1)",
    "store latency": "files are written one after the other: more actors on a GPU (num_gpus below 1)",
    "part commits": "larger batch_rows",
    "poll": "larger batch_rows: an item is shorter than the driver's look at results",
    "driver: handing out": "larger batch_rows of this stage and those before it; more workers do not help",
    "driver: scanning parts": "larger batch_rows of the stages before; the driver reads all parts, eight at a time",
    "driver: checking rejects": "larger batch_rows; the driver reads all parts twice, eight at a time",
    "driver: sealing": "every part is read again by one process: shard the run by pictures, or a driver near the store",
    "store PUT rate": "larger batch_rows, or a store that takes more",
    "store GET rate": "larger batch_rows, or a store that takes more",
    "network": "more nodes, or faster ones",
    "picture volume": "a faster volume: pictures are read from it in each of four stages",
    "actors starting": "fewer workers would do",
    "one task": "a part of the stage is one process: evaluate on a sample of the pictures",
    "training rows on nodes": "a node copies all training rows before its first step: shorter contexts",
    "gradient exchange": "no more workers than a node holds, or a faster network (limits.node_gigabits)",
    "step overhead": "the share of a batch is too small: a larger train.batch_size, or fewer workers",
    "loader": "more loader processes than vapray has; a smaller share of the batch on each GPU",
    "driver memory": "a driver with more memory, or shard the run by pictures",
    "node memory": "sample the pictures that evaluation trains its classifier on; or shard the run",
    "node disk": "larger local disks, shorter contexts (bank.max_tokens), or shard the run by pictures",
}
"""What to do about each cause."""


@dataclass(frozen=True)
class StageEstimate:
    """One stage.

    Attributes:
        stage: its name.
        workers: that share its work.
        device: ``GPU`` or ``core``.
        rows: of its table.
        items: units of work; parts written.
        phases: seconds of what comes one after the other, by what decides each.
        requests: to the object store.
        bytes_stored: in it.
        driver_bytes: memory of the driver at its fullest.
        node_bytes: memory of the fullest process on a node.
        disk_bytes: local disk of a node.
        exceeded: limits of the plan that it does not keep, each with what it would take.
        item_seconds: of an actor for an item, without committing it.
        figures: what it rests on.
        gpus: held while it runs.
        gpu_seconds: that these compute, all together.
        cores: of machines without GPUs, held while it runs.
    """

    stage: str
    workers: int
    device: str
    rows: int
    items: int
    phases: Mapping[str, float]
    requests: Requests
    bytes_stored: float
    driver_bytes: float
    node_bytes: float
    disk_bytes: float
    exceeded: Mapping[str, str]
    figures: Mapping[str, Figure]
    gpus: int = 0
    gpu_seconds: float = 0.0
    cores: int = 0
    item_seconds: float = 0.0

    @property
    def wall_seconds(self) -> float:
        """From its start to its end."""
        return sum(self.phases.values())

    @property
    def bottleneck(self) -> str:
        """A limit that is not kept, else what takes longest."""
        return next(iter(self.exceeded), None) or max(self.phases, key=lambda cause: self.phases[cause])

    @property
    def gpu_hours(self) -> float:
        """Held, from the stage's start to its end."""
        return self.gpus * self.wall_seconds / HOUR

    @property
    def gpu_share(self) -> float:
        """Of these, what is computed in."""
        return self.gpu_seconds / HOUR / self.gpu_hours if self.gpus else 0.0

    @property
    def is_assumed(self) -> bool:
        """Whether a number that nobody measured decides the time."""
        return any(figure.kind == "assumed" for figure in self.figures.values())

    def cost(self, plan: Plan) -> float:
        """Machines and requests."""
        prices = plan.prices
        hours = self.wall_seconds / HOUR
        machines = hours * (self.gpus * prices.gpu_hour + self.cores * prices.core_hour)
        writes, reads = self.requests.puts + self.requests.lists, self.requests.gets
        return machines + writes / 1000 * prices.thousand_puts + reads / 1000 * prices.thousand_gets


@dataclass(frozen=True)
class Estimate:
    """All stages, which run one after the other."""

    plan: Plan
    stages: tuple[StageEstimate, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def wall_seconds(self) -> float:
        """Of all."""
        return sum(stage.wall_seconds for stage in self.stages)

    @property
    def gpu_hours(self) -> float:
        """Held."""
        return sum(stage.gpu_hours for stage in self.stages)

    @property
    def gpu_share(self) -> float:
        """Of these, what is computed in."""
        return sum(stage.gpu_seconds for stage in self.stages) / HOUR / self.gpu_hours if self.gpu_hours else 0.0

    @property
    def cost(self) -> float:
        """Without storage."""
        return sum(stage.cost(self.plan) for stage in self.stages)

    @property
    def bytes_stored(self) -> float:
        """By all."""
        return sum(stage.bytes_stored for stage in self.stages)

    @property
    def limits_first(self) -> StageEstimate:
        """The first stage that cannot be done as planned, else the longest."""
        broken = [stage for stage in self.stages if stage.exceeded]
        return broken[0] if broken else max(self.stages, key=lambda stage: stage.wall_seconds)


def fields_of(stage: StageEstimate, plan: Plan) -> dict[str, object]:
    """For programs; ``basis`` says of the time whether it hangs on an assumption, or extrapolates measured figures."""
    return {
        "stage": stage.stage,
        "workers": stage.workers,
        "device": stage.device,
        "rows": stage.rows,
        "items": stage.items,
        "wall_seconds": stage.wall_seconds,
        "phases": dict(stage.phases),
        "gpu_hours": stage.gpu_hours,
        "gpu_share": stage.gpu_share,
        "core_hours": stage.cores * stage.wall_seconds / HOUR,
        "cost": stage.cost(plan),
        "requests": vars(stage.requests),
        "bytes_stored": stage.bytes_stored,
        "driver_bytes": stage.driver_bytes,
        "node_bytes": stage.node_bytes,
        "disk_bytes": stage.disk_bytes,
        "bottleneck": stage.bottleneck,
        "advice": ADVICE[stage.bottleneck],
        "exceeded": dict(stage.exceeded),
        "basis": "assumed" if stage.is_assumed else "extrapolated",
        "figures": {name: figure.kind for name, figure in stage.figures.items()},
    }
