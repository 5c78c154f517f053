"""The stages that map rows over a pool of actors: ingest, caption, bank, encode, sample, evaluate."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from vapray.capacity.estimate import StageEstimate
from vapray.capacity.figures import Figures
from vapray.capacity.limits import exceeded
from vapray.capacity.requests import PartFlow, Requests, waited
from vapray.capacity.work import CPU, GPU, seconds_of_a_row
from vapray.capacity.workload import Workload
from vapray.config import Pool
from vapray.data.forecast import reading_seconds
from vapray.evaluation.forecast import classifier_seconds, reference_rows
from vapray.placement import places
from vapray.row_map import ROWS_OF_A_PLAN_PART

__all__ = ["Table", "commit_seconds", "map_stage", "plan_table", "pool_seconds"]

DRIVER_BYTES = 200_000_000
"""Of a driver that has Ray imported and holds no rows."""
PICTURES_READ = ("ingest", "encode", "evaluate")
COMMITS, POLL, HANDING_OUT = "part commits", "poll", "driver: handing out"


@dataclass(frozen=True)
class Table:
    """What a stage reads or writes, as parts of about one size."""

    rows: int
    parts: int
    bytes: float

    @property
    def part_bytes(self) -> float:
        """Of one."""
        return self.bytes / self.parts

    def cut(self, batch_rows: int) -> int:
        """Items of at most so many rows, none of which takes rows of two parts."""
        return self.parts * math.ceil(math.ceil(self.rows / self.parts) / batch_rows)


def map_stage(stage: str, source: Table, work: Workload, figures: Figures) -> tuple[StageEstimate, Table]:
    """Estimate a stage; also the table that it writes."""
    figures.taken()
    pool: Pool = getattr(work.config.pools, stage)
    items, forecast = source.cut(pool.batch_rows), work.alone[stage]
    written = Table(forecast.rows, items, forecast.part_bytes)
    workers = min(_workers(stage, work, pool), items)
    flow = PartFlow(
        source.parts, source.part_bytes, stage not in ("ingest", "sample"), items, written.part_bytes, workers
    )
    row = seconds_of_a_row(stage, work, figures)
    phases = {
        "driver: scanning parts": _looking(stage, source, flow, work, figures),
        "actors starting": _starting(stage, work, figures),
    }
    cause, seconds = _pool(stage, source, flow, pool, row, work, figures)
    phases[cause] = phases.get(cause, 0) + seconds
    phases["driver: checking rejects"] = waited(flow.check_gets, figures["get_seconds"])
    phases["driver: sealing"] = _sealing(written, flow, figures)
    phases["one task"] = _one_task(stage, work, written, figures)
    phases = {name: value for name, value in phases.items() if value}
    requests = flow.requests(sum(phases.values())) + Requests(puts=_files(stage, work))
    driver, node = _driver_bytes(stage, source, work, figures), forecast.peak_bytes
    # That of evaluate is the peak of one task, which runs before its actors.
    of_a_node = node if stage == "evaluate" else node * math.ceil(workers / _nodes(stage, work))
    uses_gpu = bool(pool.num_gpus) and GPU in row
    return StageEstimate(
        stage=stage,
        workers=workers,
        device="GPU" if uses_gpu else "core",
        rows=forecast.rows,
        items=items,
        phases=phases,
        requests=requests,
        bytes_stored=forecast.bytes_written,
        driver_bytes=driver,
        node_bytes=node,
        disk_bytes=0,
        exceeded=exceeded(work.plan.limits, driver=driver, node=of_a_node, disk=0),
        figures={name: figures.all[name] for name in figures.taken()},
        gpus=math.ceil(workers * pool.num_gpus) if uses_gpu else 0,
        gpu_seconds=row.get(GPU, 0.0) * source.rows * max(1.0, pool.num_gpus),
        cores=0 if uses_gpu else workers * _cores_of(pool),
        item_seconds=sum(row.values()) * source.rows / items,
    ), written


def pool_seconds(rows: int, items: int, workers: int, overlap: int, row: Mapping[str, float], item: float) -> float:
    """Of actors that share items of equal size; the last round counts whole.

    With ``overlap`` above 1 an actor's GPU works while other items are read and committed.
    """
    rows_of_an_item = rows / items
    alone = sum(row.values()) * rows_of_an_item + item
    at_best = row.get(GPU, row.get(CPU, 0.0)) * rows_of_an_item
    return math.ceil(items / workers) * max(at_best, alone / overlap)


def commit_seconds(figures: Figures) -> float:
    """Of an actor for an item beside its work: read, commit, receipt."""
    return figures["actor_item_seconds"] + figures["get_seconds"] + figures["put_seconds"]


def _workers(stage: str, work: Workload, pool: Pool) -> int:
    plan = work.plan
    if pool.num_gpus:
        return max(1, places({"GPU": plan.gpus_for(stage)}, {"GPU": pool.num_gpus}))
    return max(1, plan.gpus_for(stage) * plan.cores_per_gpu // _cores_of(pool))


def _cores_of(pool: Pool) -> int:
    return math.ceil(pool.num_cpus)


def _starting(stage: str, work: Workload, figures: Figures) -> float:
    is_engine = stage == "caption" and work.config.caption.captioner == "vllm"
    return figures["actor_start_seconds"] + (figures["vlm_start_seconds"] if is_engine else 0)


def _pool(
    stage: str,
    source: Table,
    flow: PartFlow,
    pool: Pool,
    row: Mapping[str, float],
    work: Workload,
    figures: Figures,
) -> tuple[str, float]:
    """The longest of all that goes on at the same time, and what it is."""
    limits, items, files = work.plan.limits, flow.items, _files(stage, work)
    commit = commit_seconds(figures)
    by_cause = {cause: seconds * source.rows for cause, seconds in row.items()} | {COMMITS: commit * items}
    bounds = {
        max(by_cause, key=lambda cause: by_cause[cause]): pool_seconds(
            source.rows, items, flow.actors, pool.overlap, row, commit
        ),
        HANDING_OUT: items * figures["driver_item_seconds"],
        POLL: items * figures["poll_seconds"] / (flow.actors * 2 * pool.overlap),
        "store PUT rate": (items + files) / limits.puts_per_second,
        "store GET rate": flow.actor_gets / limits.gets_per_second,
        "network": _moved(stage, source, flow, work, figures) / _bytes_per_second(stage, work),
        "picture volume": _picture_bytes(stage, source, work, figures) / (1e9 * limits.volume_gigabytes),
    }
    cause = max(bounds, key=lambda name: bounds[name])
    return cause, bounds[cause]


def _bytes_per_second(stage: str, work: Workload) -> float:
    return _nodes(stage, work) * work.plan.limits.node_gigabits * 1e9 / 8


def _nodes(stage: str, work: Workload) -> int:
    return math.ceil(work.plan.gpus_for(stage) / work.plan.gpus_per_node)


def _moved(stage: str, source: Table, flow: PartFlow, work: Workload, figures: Figures) -> float:
    read = max(1, flow.items / flow.parts_in) * source.bytes
    return read + flow.items * flow.bytes_out + _picture_bytes(stage, source, work, figures)


def _picture_bytes(stage: str, source: Table, work: Workload, figures: Figures) -> float:
    looks = stage in PICTURES_READ or (stage == "caption" and work.config.caption.captioner != "given")
    return source.rows * work.plan.pixels * figures["bytes_of_a_pixel"] if looks else 0


def _files(stage: str, work: Workload) -> int:
    """Objects beside parts: a picture each, and a line of metadata for each arm."""
    return work.alone["sample"].rows + 2 if stage == "sample" else 0


def _looking(stage: str, source: Table, flow: PartFlow, work: Workload, figures: Figures) -> float:
    seconds = waited(flow.scan_gets, figures["get_seconds"]) + source.rows * figures["scan_row_seconds"]
    if not flow.is_sealed:
        seconds += flow.parts_in * figures["put_seconds"]
    if stage == "sample":
        seconds += work.training_rows * figures["prompt_bank_seconds"]
    return seconds


def _sealing(written: Table, flow: PartFlow, figures: Figures) -> float:
    waiting = waited(flow.seal_gets, figures["get_seconds"])
    return waiting + written.rows * figures["settle_row_seconds"] + written.bytes / figures["settle_bytes_per_second"]


def _one_task(stage: str, work: Workload, written: Table, figures: Figures) -> float:
    """What one process does alone: statistics of latents that no model publishes, the classifier and its frames."""
    if stage == "encode" and work.config.autoencoder.kind != "diffusers":
        return written.bytes / figures["settle_bytes_per_second"]
    if stage == "evaluate":
        return work.training_rows * reading_seconds(work.images) + classifier_seconds(work.config)
    return 0.0


def _driver_bytes(stage: str, source: Table, work: Workload, figures: Figures) -> float:
    held = {
        "sample": work.training_rows * figures["prompt_bank_bytes"],
        "evaluate": (reference_rows(work.images) + work.alone["evaluate"].rows) * figures["report_row_bytes"],
    }
    keys = source.rows * (figures["scan_row_bytes"] + figures["key_bytes"])  # both when a run goes on near its end
    return DRIVER_BYTES + keys + held.get(stage, 0)


def plan_table(rows: int, part_bytes: float) -> Table:
    """What :func:`vapray.row_map.plan_rows` writes."""
    return Table(rows, math.ceil(rows / ROWS_OF_A_PLAN_PART), part_bytes)
