"""Checks of cores, memory, shared memory and the disk for temporary files."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.filesize import decimal

from vapray.config import Config
from vapray.doctor.findings import Finding, failed, ok, warning

__all__ = ["check"]

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
MIN_MEMORY_BYTES = 5_000_000_000
# Ray refuses to spill objects to a disk that is fuller.
RAY_MAX_DISK_SHARE = 0.95


def check(config: Config) -> Iterator[Finding]:
    """Check the resources of an embedded Ray, or of the driver of a cluster."""
    yield _cores(config)
    yield _memory()
    if not _joins_cluster(config):
        yield _shared_memory(config)
    yield _temporary_disk()


def _joins_cluster(config: Config) -> bool:
    return bool(config.cluster.address or os.environ.get("RAY_ADDRESS"))


def _cores(config: Config) -> Finding:
    usable, all_cores = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    found = f"{usable} of {all_cores} cores usable" if usable < all_cores else f"{all_cores} cores"
    workers = config.train.workers
    if usable < workers and not _joins_cluster(config):
        return warning("cores", found, f"Set train.workers={usable}: {workers} workers are no faster.")
    return ok("cores", found)


def _memory() -> Finding:
    total, available = _meminfo("MemTotal"), _meminfo("MemAvailable")
    limit = _cgroup_limit()
    free = min(available, limit) if limit else available
    found = f"{decimal(free)} of {decimal(total)} free" + (f", limit {decimal(limit)}" if limit else "")
    if free < MIN_MEMORY_BYTES:
        advice = "Free memory (the demo needs 4 GB), or lower pools.*.max_size and train.workers."
        return warning("memory", found, advice)
    return ok("memory", found)


def _shared_memory(config: Config) -> Finding:
    needed = config.cluster.object_store_mb * 2**20
    if not SHARED_MEMORY.is_dir():
        return warning("shared memory", f"no {SHARED_MEMORY}", "Mount it: Ray uses slower temporary files.")
    free = shutil.disk_usage(SHARED_MEMORY).free
    found = f"{decimal(free)} free in {SHARED_MEMORY}, {decimal(needed)} requested"
    if free < needed:
        advice = (
            f"Lower cluster.object_store_mb (now {config.cluster.object_store_mb}), or enlarge {SHARED_MEMORY}: "
            "docker run --shm-size, or an emptyDir of medium Memory."
        )
        return failed("shared memory", found, advice, 5)
    return ok("shared memory", found)


def _temporary_disk() -> Finding:
    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    usage = shutil.disk_usage(folder)
    full = 1 - usage.free / usage.total
    found = f"{folder}: {decimal(usage.free)} free, {full:.0%} full"
    if full > RAY_MAX_DISK_SHARE:
        advice = "Free space, or set RAY_TMPDIR to another disk. Above 95 % Ray refuses to spill objects."
        return failed("temporary files", found, advice, 5)
    return ok("temporary files", found)


def _meminfo(name: str) -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def _cgroup_limit() -> int | None:
    """Return the memory limit of the container in bytes; None without one."""
    for path in CGROUP_LIMITS:
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < 2**60:
            return int(text)
    return None
