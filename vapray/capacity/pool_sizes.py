"""One stage with pools of growing size, simulated: until the driver has no more to give."""

import random
from dataclasses import dataclass

from vapray.capacity.figures import Figures, read_figures
from vapray.capacity.mapping import commit_seconds
from vapray.capacity.pipeline import estimate
from vapray.capacity.plan import Plan
from vapray.capacity.pool import ActorPool, Driver, Outcome
from vapray.capacity.simulation import simulate
from vapray.errors import ConfigError

__all__ = ["PoolSizes", "driver_bound_size", "pool_sizes"]

SIZES = (8, 16, 32, 64, 128, 256, 512, 1024)
MOST_ITEMS = 40_000


@dataclass(frozen=True)
class PoolSizes:
    """What came of it.

    Attributes:
        stage: which.
        items: of the stage.
        item_seconds: of an actor, mean, commits included.
        simulated: how many of the items; a longer stage goes on like this.
        bound: actors that keep the driver busy all the time.
        outcomes: by pool size.
    """

    stage: str
    items: int
    item_seconds: float
    simulated: int
    bound: float
    outcomes: dict[int, Outcome]


def pool_sizes(plan: Plan, stage: str) -> PoolSizes:
    """Simulate a stage of a plan; an actor takes its items one after the other, whatever ``overlap`` its pool has.

    Raises:
        ConfigError: there is no such stage, or it has no pool.
    """
    mapped = [found for found in estimate(plan).stages if found.item_seconds]
    found = next((one for one in mapped if one.stage == stage), None)
    if found is None:
        raise ConfigError(f"--simulate {stage}: wanted a stage with a pool: {', '.join(one.stage for one in mapped)}.")
    figures = read_figures(plan.figures)
    commit = commit_seconds(figures)
    lengths = _lengths(found.item_seconds, plan.spread, min(found.items, MOST_ITEMS))
    start = found.phases["actors starting"]
    sizes = [size for size in SIZES if size <= found.items] or [found.items]
    outcomes = {size: _simulated(lengths, size, start, commit, figures) for size in sizes}
    mean = found.item_seconds + commit
    bound = driver_bound_size(mean, figures["driver_item_seconds"])
    return PoolSizes(stage, found.items, mean, len(lengths), bound, outcomes)


def driver_bound_size(item_seconds: float, driver_seconds: float) -> float:
    """Actors that finish items as fast as the driver hands them out."""
    return item_seconds / driver_seconds


def _lengths(mean: float, spread: float, count: int) -> list[float]:
    draws = random.Random(0)
    return [mean * draws.lognormvariate(-(spread**2) / 2, spread) for _ in range(count)]


def _simulated(lengths: list[float], size: int, start: float, commit: float, figures: Figures) -> Outcome:
    pool = ActorPool(size, size, start_seconds=start, overhead_seconds=commit)
    driver = Driver(seconds_per_item=figures["driver_item_seconds"], poll_seconds=figures["poll_seconds"])
    return simulate(lengths, pool, driver)
