"""Advice for training that does not fit in memory."""

import os
import re
import resource
from collections.abc import Iterator

import torch

from vapray.config import Config, Train
from vapray.errors import BackendError
from vapray.models.network_cost import network_cost
from vapray.training.forecast import peak_bytes

__all__ = ["largest_micro_batch", "oom_error"]

USABLE = 0.9
"""Usable share of the memory; the rest is lost to fragmentation."""


def oom_error(
    error: BaseException, config: Config, *, num_classes: int, device: torch.device, workers: int, sharing: int
) -> BackendError | None:
    """Create an error with settings that fit, or None if ``error`` is not about memory.

    Args:
        error: exception of a step.
        config: configuration of the run.
        num_classes: number of classes of the dataset.
        device: device of the step.
        workers: number of workers that trained; an elastic run may have fewer than ``train.workers``.
        sharing: number of workers that share this machine's memory.
    """
    if not _is_about_memory(error):
        return None
    settings = config.train
    share = _rows_at_once(settings, workers)
    asked = re.search(r"tried to allocate ([\d.]+ ?\w+)", str(error), re.IGNORECASE)
    found = f"{share} images at a time (train.batch_size {settings.batch_size} over {_parts(settings, workers)})"
    more = f", when {asked[1]} more were requested" if asked else ""
    capacity = capacity_bytes(device) // (1 if device.type == "cuda" else sharing)
    fits = largest_micro_batch(config, num_classes, capacity, workers)
    where = "the GPU" if device.type == "cuda" else "memory"
    return BackendError(f"training: {found} do not fit in {where}{more}. {_advice(settings, fits, workers)}")


def largest_micro_batch(config: Config, num_classes: int, capacity: int, workers: int) -> int:
    """Estimate the images at once that a worker can hold; at most half of the current number if that is above 1.

    0 if not even one fits.
    """
    size, settings = network_cost(config, num_classes), config.train
    share = max(1, _rows_at_once(settings, workers) // 2)
    while share and peak_bytes(size, share, settings) > USABLE * capacity:
        share -= 1
    return share


def capacity_bytes(device: torch.device) -> int:
    """Get the memory of a GPU; for the CPU that of the machine, or the process's limit if lower."""
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
    return -(-settings.batch_size // (workers * settings.gradient_accumulation_steps))


def _parts(settings: Train, workers: int) -> str:
    parts = f"{workers} worker{'s' if workers > 1 else ''}"
    return (
        f"{parts} in {settings.gradient_accumulation_steps} parts"
        if settings.gradient_accumulation_steps > 1
        else parts
    )


def _advice(settings: Train, fits: int, workers: int) -> str:
    smaller = "lower model.width or model.depth"
    if not fits or _rows_at_once(settings, workers) == 1:
        why = "One image at a time is the minimum" if fits else "By arithmetic not even one fits"
        recompute = "" if settings.activation_checkpointing else "set train.activation_checkpointing=true, or "
        return f"{why}: {recompute}{smaller}."
    ways = list(_ways(settings, fits, workers))
    return f"By arithmetic {fits} fit: {'set ' + ' or '.join(ways) if ways else smaller}."


def _ways(settings: Train, fits: int, workers: int) -> Iterator[str]:
    """List settings with at most ``fits`` images at a time.

    Only valid configurations are listed: validation assumes all ``train.workers``, some of which an elastic run may
    have lost.
    """
    batch, asked, parts = settings.batch_size, settings.workers, settings.gradient_accumulation_steps
    passes = -(-batch // (workers * fits))
    if passes <= batch // asked:
        yield f"train.gradient_accumulation_steps={passes} (the same result)"
    elif batch % workers == 0:
        yield f"train.workers={workers} train.gradient_accumulation_steps={passes} (the same result)"
    if not settings.activation_checkpointing:
        yield "train.activation_checkpointing=true"
    smaller = fits * workers * parts // asked * asked
    if parts <= smaller // asked:
        yield f"train.batch_size={smaller}"
