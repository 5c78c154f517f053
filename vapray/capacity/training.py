"""Estimate of training: each node caches the training rows, then all workers take optimizer steps."""

import math

from vapray.bank.forecast import context_width, tokens_of_a_caption
from vapray.capacity.constants import Cost
from vapray.capacity.estimate import StageEstimate, TableSize, Workload, slowest
from vapray.models.size import network_size

__all__ = ["train_stage"]

FILES_OF_A_CHECKPOINT = 6


def train_stage(bank: TableSize, latents: TableSize, work: Workload) -> StageEstimate:
    """Estimate the stage; a node reads both tables twice, and hashes each part when it reads it first."""
    settings, forecast, constants = work.config.train, work.forecasts["train"], work.constants
    workers, rows = _workers(work), work.images.splits["train"]
    nodes = math.ceil(workers / work.plan.gpus_per_node)
    gets = sum(table.parts * (1 + table.gets_per_part) for table in (bank, latents))
    context_bytes = 2 * tokens_of_a_caption(work.config) * context_width(work.config)
    cache_bytes = rows * (2 * latents.bytes / latents.rows + context_bytes)
    bytes_read = 2 * (bank.bytes + latents.bytes)
    filling = 8e-9 * bytes_read / work.plan.node_gigabits + cache_bytes / constants["cache_bytes_per_second"]
    cause, step = _step(workers, work)
    return StageEstimate(
        "train",
        workers,
        workers if settings.use_gpu else 0,
        {
            "startup": Cost(forecast.startup_seconds),
            "row cache": gets * constants["get_seconds"] + filling,
            cause: settings.steps * step,
        },
        Cost(nodes * bytes_read),
        forecast.bytes_written,
        puts=settings.steps / settings.checkpoint_every * FILES_OF_A_CHECKPOINT,
        gets=nodes * gets,
        driver_bytes=constants["driver_bytes"] + rows * constants["prompt_bank_bytes"],
        process_bytes=work.images.count * constants["join_row_bytes"],
        disk_bytes=cache_bytes,
    )


def _workers(work: Workload) -> int:
    """Return the largest number of workers that divides the batch."""
    batch, gpus = work.config.train.batch_size, work.plan.gpus_of_stage("train")
    return max(number for number in range(1, min(batch, gpus) + 1) if batch % number == 0)


def _step(workers: int, work: Workload) -> tuple[str, Cost]:
    """Return cause and seconds of a step; arithmetic, loading and gradient exchange run at the same time."""
    settings, constants = work.config.train, work.constants
    arithmetic = work.forecasts["train"].work_seconds / settings.steps / workers
    # Ring all-reduce: a rank sends and receives its gradients, of four bytes each, twice, less its own part.
    moved = 2 * (workers - 1) / workers * 4 * network_size(work.config, work.plan.classes).parameters
    exchange = Cost(8e-9 * moved / work.plan.node_gigabits)
    if workers <= work.plan.gpus_per_node:
        exchange = moved / constants["allreduce_bytes_per_second"]
    compute = Cost(arithmetic)
    if settings.use_gpu:
        compute = arithmetic / constants["train_gpu_speed"] + constants["step_overhead_seconds"]
    loading = settings.batch_size / workers * constants["batch_row_seconds"]
    device = "GPU" if settings.use_gpu else "CPU"
    return slowest({device: compute, "data loader": loading, "gradient exchange": exchange})
