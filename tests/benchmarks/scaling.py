"""Pools of 8, 16 and 32 actors through the product's own ``map_rows``, beside what the simulation says of them.

    python -m tests.benchmarks.scaling [--items 480] [--seconds 1.0] [--repetitions 3]

An item's work is a sleep of drawn length, so that two cores hold 32 actors; all else is real: Ray Data, parts committed
to a local store, receipts. What an item and a start cost is measured with one and two actors; with these figures larger
pools are predicted, and nothing is fitted to them. Actors start cold: Ray is kept from starting processes ahead.

Starting 32 processes takes two cores a while, and longer while others work on the machine. So there are two
predictions: ``wall``, starts included, as if the machine stayed as it was; and ``wall_from_starts``, which is told when
each actor took its first item and says the rest: how items spread, what driver and actors add, how the pool runs dry.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa

from tests.benchmarks.table import report
from vapray.capacity.pool import ActorPool, Driver, Outcome
from vapray.capacity.simulation import simulate
from vapray.cluster import connected
from vapray.config import Cluster, Config, Pool
from vapray.progress import Display
from vapray.row_map import map_rows, plan_rows
from vapray.stage_run import StageRun
from vapray.store import Store
from vapray.tables import TABLES, part_of

SIZES = (8, 16, 32)
POLL_SECONDS = 0.1
"""Ray Data's WAIT_FOR_TASK_COMPLETION_TIMEOUT_S."""
PRESTART = "RAY_prestart_worker_first_driver"
FEW, MANY, LONG_ITEMS = 50, 250, 24
SHORT, LONG = 0.02, 0.3


def _now() -> float:
    """Since boot: what the start of a process is told in, too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _created() -> float:
    fields = Path("/proc/self/stat").read_bytes().rsplit(b")", 1)[1].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


class _Sleeper:
    """A row map that sleeps as long as its rows say, and notes when."""

    def __init__(self, notes: Path) -> None:
        self._notes = notes / f"{os.getpid()}-{time.time_ns()}.jsonl"
        self._note(created=_created(), cpu_seconds=time.process_time())

    def __call__(self, rows: pa.Table) -> pa.Table:
        asked, begin = rows.to_pylist(), _now()
        time.sleep(sum(row["label"] for row in asked) / 1e6)
        self._note(begin=begin, end=_now())
        facts = {"sha256": "", "width": 1, "height": 1}
        return part_of(TABLES["images"], [row | facts for row in asked])

    def _note(self, **values: float) -> None:
        with open(self._notes, "a") as file:
            file.write(json.dumps(values) + "\n")


@dataclass(frozen=True)
class _Actor:
    created: float
    cpu_seconds: float
    begins: list[float]
    ends: list[float]


@dataclass(frozen=True)
class _Run:
    """What was seen: moments in seconds since the call."""

    wall: float
    driver_cpu_seconds: float
    actors: list[_Actor]

    def starts(self) -> list[float]:
        """When actors took their first items."""
        return sorted(actor.begins[0] for actor in self.actors)

    def gaps(self) -> list[float]:
        """Between two items of an actor."""
        return [
            begin - end for actor in self.actors for end, begin in zip(actor.ends[:-1], actor.begins[1:], strict=True)
        ]


def run_pool(actors: int, seconds: Sequence[float], folder: Path) -> _Run:
    """One stage over items of these lengths."""
    notes = Path(tempfile.mkdtemp(dir=folder))
    config = Config()
    store, fingerprint = Store(str(notes / "store")), "measured"
    with Display().stage("scaling") as progress:
        run = StageRun("ingest", config, {}, store.version("images", fingerprint), progress, time.monotonic(), {})
        plan = plan_rows(run, "records", _rows(seconds))
        pool = Pool(min_size=actors, max_size=actors, num_cpus=0.01, batch_rows=1)
        began, cpu_seconds = _now(), time.process_time()
        map_rows(run, plan, partial(_Sleeper, notes), pool=pool, columns=plan.kind.schema.names)
        wall, cpu_seconds = _now() - began, time.process_time() - cpu_seconds
    done = [_read(path, began) for path in sorted(notes.glob("*.jsonl"))]
    assert sum(len(actor.ends) for actor in done) == len(seconds), "every item once"
    return _Run(wall, cpu_seconds, done)


def _rows(seconds: Sequence[float]) -> pa.Table:
    names = [f"item-{number:06d}" for number in range(len(seconds))]
    texts = [name for name in TABLES["records"].schema.names if name not in ("image_id", "label", "reject")]
    labels = pa.array([round(one * 1e6) for one in seconds], pa.int32())
    return pa.table({"image_id": names, "label": labels} | dict.fromkeys(texts, [""] * len(seconds)))


def _read(path: Path, began: float) -> _Actor:
    first, *items = [json.loads(line) for line in path.read_text().splitlines()]
    return _Actor(
        first["created"] - began,
        first["cpu_seconds"],
        [item["begin"] - began for item in items],
        [item["end"] - began for item in items],
    )


@dataclass(frozen=True)
class _Costs:
    """What one and two actors tell, in seconds."""

    setup: float
    start: float
    start_cpu: float
    overhead: float
    driver_per_item: float
    finish: float

    @classmethod
    def measure(cls, folder: Path) -> "_Costs":
        """Long items tell what an actor spends between two; few and many short ones what the driver spends on each."""
        runs = [run_pool(number, [LONG] * LONG_ITEMS, folder) for number in (1, 2)]
        few, many = (run_pool(2, [SHORT] * count, folder) for count in (FEW, MANY))
        starts = [actor.begins[0] - actor.created for run in (runs[1], few, many) for actor in run.actors]
        return cls(
            setup=median(min(actor.created for actor in run.actors) for run in runs),
            start=median(starts),
            start_cpu=median(actor.cpu_seconds for run in runs for actor in run.actors),
            overhead=median(gap for run in runs for gap in run.gaps()),
            driver_per_item=(many.driver_cpu_seconds - few.driver_cpu_seconds) / (MANY - FEW),
            finish=median(run.wall - max(max(actor.ends) for actor in run.actors) for run in runs),
        )

    def predict(self, actors: int, seconds: Sequence[float], starts_at: Sequence[float] = ()) -> Outcome:
        """The same pool on paper; starting actors share the cores, as the two did that were measured."""
        pool = ActorPool(
            actors,
            actors,
            start_seconds=self.start,
            start_cores=os.cpu_count(),
            starts_at=tuple(starts_at),
            overhead_seconds=self.overhead,
        )
        return simulate(seconds, pool, Driver(self.setup, self.driver_per_item, POLL_SECONDS, self.finish))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=480)
    parser.add_argument("--seconds", type=float, default=2.0, help="median length of an item")
    parser.add_argument("--repetitions", type=int, default=3)
    asked = parser.parse_args()
    os.environ[PRESTART] = "0"
    drawn = np.random.default_rng(0).lognormal(np.log(asked.seconds), 0.5, asked.items).tolist()
    pools = {f"{size}": (size, drawn) for size in SIZES} | {"8_short": (8, [SHORT] * 2 * MANY)}
    costs: list[_Costs] = []
    runs: dict[str, list[_Run]] = {name: [] for name in pools}
    with tempfile.TemporaryDirectory() as folder, connected(Cluster(num_cpus=os.cpu_count())):
        run_pool(1, [0.0] * 4, Path(folder))  # what only the first stage of a process pays
        for _ in range(asked.repetitions):  # side by side, for what else the machine does changes
            costs.append(_Costs.measure(Path(folder)))
            print(costs[-1], "load", os.getloadavg(), flush=True)
            for name, (actors, seconds) in pools.items():
                runs[name].append(run_pool(actors, seconds, Path(folder)))
                found, paper = runs[name][-1].wall, costs[-1].predict(actors, seconds).wall_seconds
                told = costs[-1].predict(actors, seconds, runs[name][-1].starts()).wall_seconds
                print(f"{name}: {found:.1f} s, on paper {paper:.1f} s, told the starts {told:.1f} s", flush=True)
    config = {"items": asked.items, "median_seconds": asked.seconds, "cores": os.cpu_count(), "device": "cpu"}
    _report(config | {"repetitions": asked.repetitions}, pools, costs, runs)


def _report(
    config: dict[str, Any],
    pools: dict[str, tuple[int, list[float]]],
    costs: Sequence[_Costs],
    runs: dict[str, list[_Run]],
) -> None:
    middle = _Costs(*(median(getattr(one, name) for one in costs) for name in vars(costs[0])))
    values, ratios = {**vars(middle)}, {}
    for name, (actors, seconds) in pools.items():
        told = [middle.predict(actors, seconds, run.starts()) for run in runs[name]]
        ratios[f"wall_from_starts_{name}"] = median(
            paper.wall_seconds / run.wall for paper, run in zip(told, runs[name], strict=True)
        )
        paper = middle.predict(actors, seconds)
        ratios[f"wall_{name}"] = paper.wall_seconds / median(run.wall for run in runs[name])
        values |= {f"{key}_{name}": value for key, value in _compared(runs[name], told, paper).items()}
    report("scaling", config, ratios, values)


def _compared(runs: Sequence[_Run], told: Sequence[Outcome], paper: Outcome) -> dict[str, float]:
    counts = [sorted(len(actor.ends) for actor in run.actors) for run in runs]
    counts_told = [sorted(one.items_of_actors) for one in told]
    wall = median(run.wall for run in runs)
    return {
        "seconds": wall,
        "seconds_least": min(run.wall for run in runs),
        "seconds_most": max(run.wall for run in runs),
        "seconds_predicted": paper.wall_seconds,
        "items_per_second": sum(counts[0]) / wall,
        "items_per_second_predicted": paper.items_per_second,
        "items_per_second_from_starts": median(one.items_per_second for one in told),
        "last_start": median(max(actor.begins[0] for actor in run.actors) for run in runs),
        "last_start_predicted": max(paper.started_at),
        "least_items": median(count[0] for count in counts),
        "least_items_from_starts": median(count[0] for count in counts_told),
        "most_items": median(count[-1] for count in counts),
        "most_items_from_starts": median(count[-1] for count in counts_told),
        "gap": median(gap for run in runs for gap in run.gaps()),
    }


if __name__ == "__main__":
    main()
