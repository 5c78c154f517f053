"""Training: rows copied to each node, then steps."""

import math

from vapray.capacity.estimate import StageEstimate
from vapray.capacity.figures import Figures
from vapray.capacity.limits import exceeded
from vapray.capacity.mapping import DRIVER_BYTES, Table
from vapray.capacity.requests import Requests, heartbeats, opening
from vapray.capacity.workload import Workload
from vapray.forecast import FLOPS_OF_A_CORE
from vapray.models.size import network_size
from vapray.parts import HASHED_WHOLE_BYTES
from vapray.training.forecast import PASSES

__all__ = ["train_stage", "workers_of"]

FILES_OF_A_CHECKPOINT = 6
READS_OF_EACH_TABLE = 2


def workers_of(work: Workload) -> int:
    """As many of the GPUs as divide the batch; ``vapray`` refuses any other number."""
    batch, gpus = work.config.train.batch_size, work.plan.gpus_for("train")
    return max(number for number in range(1, min(batch, gpus) + 1) if batch % number == 0)


def train_stage(bank: Table, latents: Table, work: Workload, figures: Figures) -> StageEstimate:
    """Estimate it."""
    figures.taken()
    settings, forecast, plan = work.config.train, work.alone["train"], work.plan
    workers = workers_of(work)
    nodes = math.ceil(workers / plan.gpus_per_node)
    cause, step = _step(work, workers, figures)
    disk = work.training_rows * work.row_bytes
    phases = {
        "training rows on nodes": _copying(bank, latents, disk, work, figures),
        "actors starting": figures["train_start_seconds"],
        cause: settings.steps * step,
    }
    states = settings.steps / settings.checkpoint_every
    reads = nodes * (_gets(bank) + _gets(latents)) + 2 * bank.parts * opening(bank.part_bytes)
    requests = Requests(states * FILES_OF_A_CHECKPOINT, reads) + heartbeats(sum(phases.values()))
    driver = DRIVER_BYTES + work.training_rows * figures["prompt_bank_bytes"]
    host = work.plan.images * figures["join_row_bytes"]
    return StageEstimate(
        stage="train",
        workers=workers,
        device="GPU" if settings.use_gpu else "core",
        rows=forecast.rows,
        items=settings.steps,
        phases=phases,
        requests=requests,
        bytes_stored=forecast.bytes_written,
        driver_bytes=driver,
        node_bytes=host,
        disk_bytes=disk,
        exceeded=exceeded(plan.limits, driver=driver, node=host, disk=disk),
        figures={name: figures.all[name] for name in figures.taken()},
        gpus=workers if settings.use_gpu else 0,
        gpu_seconds=_arithmetic(work, figures) * settings.steps if settings.use_gpu else 0.0,
        cores=0 if settings.use_gpu else workers,
    )


def _step(work: Workload, workers: int, figures: Figures) -> tuple[str, float]:
    """Seconds of one, and what decides them: batches are prepared and gradients exchanged beside the arithmetic."""
    size, settings = network_size(work.config, work.plan.classes), work.config.train
    share = settings.batch_size / workers
    if settings.use_gpu:
        seconds, cause = _arithmetic(work, figures) / workers, "GPU"
        overhead = figures["step_overhead_seconds"]
    else:
        seconds, cause, overhead = PASSES * size.flops * share / FLOPS_OF_A_CORE, "cores", 0.0
    beside = {
        cause: seconds + overhead,
        "loader": share * _row_seconds(work, workers, figures),
        "gradient exchange": _exchange(4 * size.parameters, workers, work, figures),
    }
    longest = max(beside, key=lambda name: beside[name])
    is_overhead = longest == cause and overhead > seconds
    return "step overhead" if is_overhead else longest, beside[longest]


def _arithmetic(work: Workload, figures: Figures) -> float:
    """Seconds of one GPU for a whole batch."""
    flops = PASSES * network_size(work.config, work.plan.classes).flops * work.config.train.batch_size
    return flops / (figures["gpu_peak_flops"] * figures["train_mfu"])


def _row_seconds(work: Workload, workers: int, figures: Figures) -> float:
    """Of a rank's loader for a row; what the node's memory does not hold is read from its disk, by all its ranks."""
    prepared = figures["batch_row_seconds"]
    if work.training_rows * work.row_bytes <= work.plan.limits.node_memory_gb * 1e9:
        return prepared
    ranks = min(workers, work.plan.gpus_per_node)
    return prepared + ranks * work.row_bytes / figures["disk_row_bytes_per_second"]


def _exchange(gradient_bytes: float, workers: int, work: Workload, figures: Figures) -> float:
    """Rings: each rank sends and receives twice the gradients, less its own part.

    Between nodes as many rings as a node has network cards use all of its network together.
    """
    if workers == 1:
        return 0.0
    within = workers <= work.plan.gpus_per_node
    network = work.plan.limits.node_gigabits * 1e9 / 8
    rate = figures["allreduce_node_bytes_per_second"] if within else network
    return 2 * (workers - 1) / workers * gradient_bytes / rate


def _copying(bank: Table, latents: Table, disk: float, work: Workload, figures: Figures) -> float:
    """One process of each node, all nodes at once: joins, then fills; each table is read twice, part by part."""
    read = READS_OF_EACH_TABLE * (bank.bytes + latents.bytes)
    network = read / (work.plan.limits.node_gigabits * 1e9 / 8)
    waiting = (_gets(bank) + _gets(latents)) * figures["get_seconds"]
    return waiting + max(network, disk / figures["materialise_bytes_per_second"])


def _gets(table: Table) -> float:
    first = 1 if table.part_bytes <= HASHED_WHOLE_BYTES else opening(table.part_bytes)
    return table.parts * (first + opening(table.part_bytes))
