"""What a simulation is told of a pool of actors and of the driver that feeds it, and what it tells of them."""

from dataclasses import dataclass

__all__ = ["ActorPool", "Driver", "Outcome"]


@dataclass(frozen=True)
class ActorPool:
    """What works.

    Attributes:
        min_size: actors that are asked for at once.
        max_size: actors at the most.
        overlap: items that an actor works on at a time; as many more wait in its queue.
        start_seconds: of one actor that has a core to itself, until it takes an item.
        start_cores: that all starting actors share; None: each has one.
        starts_at: when the first actors are up, in place of these two, as where nodes come one by one.
        overhead_seconds: of an actor for an item beside its work: reading, committing, the receipt.
        seconds_between_deaths: mean, of one actor; None: none dies.
    """

    min_size: int
    max_size: int
    overlap: int = 1
    start_seconds: float = 0.0
    start_cores: int | None = None
    starts_at: tuple[float, ...] = ()
    overhead_seconds: float = 0.0
    seconds_between_deaths: float | None = None


@dataclass(frozen=True)
class Driver:
    """What hands out.

    Attributes:
        setup_seconds: before the first actor is asked for.
        seconds_per_item: to hand out an item and to take its receipt.
        poll_seconds: between two looks at results while some are missing; 0: it sees each at once.
        finish_seconds: after the last receipt.
    """

    setup_seconds: float = 0.0
    seconds_per_item: float = 0.0
    poll_seconds: float = 0.0
    finish_seconds: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        wall_seconds: from the call to its end.
        worked_seconds: work and overhead of what was finished, once for each item.
        redone_seconds: work that deaths took.
        items_of_actors: finished ones of each.
        started_at: seconds until each actor was up for the first time.
        utilisation: ``worked_seconds`` of what all actors could have done between setup and the last receipt.
        tail_idle_share: of the same, idle after the last item was handed out.
        driver_share: of the same time, the driver's busy part.
        deaths: of actors.
        failed: an item was tried, or an actor started, as often as ``vapray.row_map`` allows; the rest is left undone.
    """

    wall_seconds: float
    worked_seconds: float
    redone_seconds: float
    items_of_actors: tuple[int, ...]
    started_at: tuple[float, ...]
    utilisation: float
    tail_idle_share: float
    driver_share: float
    deaths: int
    failed: bool

    @property
    def items_per_second(self) -> float:
        """From the call to the end."""
        return sum(self.items_of_actors) / self.wall_seconds if self.wall_seconds else 0.0
