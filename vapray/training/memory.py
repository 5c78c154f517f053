"""What to change when training does not fit in memory."""

import os
import re
import resource

import torch

from vapray.config import Config, Train
from vapray.errors import BackendError
from vapray.models.size import network_size
from vapray.training.forecast import peak_bytes

__all__ = ["largest_share", "out_of_memory"]

USABLE = 0.9
"""Of the memory; the rest is lost between blocks."""


def out_of_memory(
    error: BaseException, config: Config, *, num_classes: int, device: torch.device, workers: int, sharing: int
) -> BackendError | None:
    """An error that says what fits, or None where ``error`` is not about memory.

    Args:
        error: what a step raised.
        config: the tree.
        num_classes: of the dataset.
        device: where the step ran.
        workers: that trained; an elastic run may have fewer than ``train.workers``.
        sharing: workers that share this machine's memory.
    """
    if not _is_about_memory(error):
        return None
    settings = config.train
    share = _rows_at_once(settings, workers)
    asked = re.search(r"tried to allocate ([\d.]+ ?\w+)", str(error), re.IGNORECASE)
    found = f"{share} images at a time (train.batch_size {settings.batch_size} over {_parts(settings, workers)})"
    more = f", when {asked[1]} more were asked for" if asked else ""
    capacity = capacity_bytes(device) // (1 if device.type == "cuda" else sharing)
    fits = largest_share(config, num_classes, capacity, workers)
    where = "the GPU" if device.type == "cuda" else "memory"
    return BackendError(f"training: {found} do not fit in {where}{more}. {_advice(settings, fits, workers)}")


def largest_share(config: Config, num_classes: int, capacity: int, workers: int) -> int:
    """Images at a time that a worker can hold by arithmetic, at most half of those now; 0 when not even one fits."""
    size, settings = network_size(config, num_classes), config.train
    share = _rows_at_once(settings, workers) // 2
    while share and peak_bytes(size, share, settings) > USABLE * capacity:
        share -= 1
    return share


def capacity_bytes(device: torch.device) -> int:
    """Memory of a GPU; for the CPU that of the machine, or less where the process is limited."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = (resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    return min([machine, *(limit for limit in limits if limit != resource.RLIM_INFINITY)])


def _is_about_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )


def _rows_at_once(settings: Train, workers: int) -> int:
    return -(-settings.batch_size // (workers * settings.accumulate_steps))


def _parts(settings: Train, workers: int) -> str:
    parts = f"{workers} worker{'s' if workers > 1 else ''}"
    return f"{parts} in {settings.accumulate_steps} parts" if settings.accumulate_steps > 1 else parts


def _advice(settings: Train, fits: int, workers: int) -> str:
    recompute = "" if settings.recompute else "train.recompute=true"
    if not fits:
        smaller = "lower model.width or model.depth"
        return f"By arithmetic not even one fits: {'set ' + recompute + ', or ' if recompute else ''}{smaller}."
    passes = -(-settings.batch_size // (workers * fits))
    ways = [f"train.accumulate_steps={passes} (the same result)", recompute, f"train.batch_size={fits * workers}"]
    return f"By arithmetic {fits} fit: set {' or '.join(way for way in ways if way)}."
