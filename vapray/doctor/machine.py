"""Cores, memory, shared memory and the disk of temporary files."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.filesize import decimal

from vapray.config import Config
from vapray.doctor.findings import Finding, failed, ok, warning

__all__ = ["examine"]

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
LEAST_MEMORY_BYTES = 5_000_000_000
# Ray stops placing objects on a disk that is fuller than this.
RAY_FULL_SHARE = 0.95


def examine(config: Config) -> Iterator[Finding]:
    """For an embedded Ray, what it will have; for a cluster, what the driver has."""
    yield _cores(config)
    yield _memory()
    if not _joins(config):
        yield _shared_memory(config)
    yield _temporary_disk()


def _joins(config: Config) -> bool:
    return bool(config.cluster.address or os.environ.get("RAY_ADDRESS"))


def _cores(config: Config) -> Finding:
    usable, all_cores = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    found = f"{usable} of {all_cores} cores may be used" if usable < all_cores else f"{all_cores} cores"
    asked = config.train.workers
    if usable < asked and not _joins(config):
        return warning("cores", found, f"train.workers={asked} share them; train.workers={usable} is as fast.")
    return ok("cores", found)


def _memory() -> Finding:
    total, available = _meminfo("MemTotal"), _meminfo("MemAvailable")
    limit = _cgroup_limit()
    have = min(available, limit) if limit else available
    found = f"{decimal(have)} of {decimal(total)} are free" + (f", limit {decimal(limit)}" if limit else "")
    if have < LEAST_MEMORY_BYTES:
        advice = "The demo takes 4 GB over all processes. Give more, or lower pools.*.max_size and train.workers."
        return warning("memory", found, advice)
    return ok("memory", found)


def _shared_memory(config: Config) -> Finding:
    wanted = config.cluster.object_store_mb * 2**20
    if not SHARED_MEMORY.is_dir():
        return warning("shared memory", f"no {SHARED_MEMORY}", "Ray uses files in its temporary folder: slower.")
    free = shutil.disk_usage(SHARED_MEMORY).free
    found = f"{decimal(free)} free in {SHARED_MEMORY}, {decimal(wanted)} asked for"
    if free < wanted:
        advice = (
            f"Lower cluster.object_store_mb (now {config.cluster.object_store_mb}), or give more: "
            "docker run --shm-size, or an emptyDir of medium Memory."
        )
        return failed("shared memory", found, advice, 5)
    return ok("shared memory", found)


def _temporary_disk() -> Finding:
    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    usage = shutil.disk_usage(folder)
    full = 1 - usage.free / usage.total
    found = f"{folder}: {decimal(usage.free)} free, {full:.0%} full"
    if full > RAY_FULL_SHARE:
        advice = "Above 95 % Ray refuses to spill objects. Make room, or set RAY_TMPDIR to another disk."
        return failed("temporary files", found, advice, 5)
    return ok("temporary files", found)


def _meminfo(name: str) -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def _cgroup_limit() -> int | None:
    """Of the container this runs in; None without one."""
    for path in CGROUP_LIMITS:
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < 2**60:
            return int(text)
    return None
