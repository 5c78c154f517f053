"""Real processes to kill: a cluster, drivers that run ``python -m jobs.STAGE`` on it, and their workers."""

import contextlib
import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

__all__ = ["FORKS", "Driver", "cluster", "gone_within", "killed", "lives", "start_fork_server"]

# Forked from a server that has imported everything once: an import costs seconds, and a storm starts hundreds.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["vapray.cli.app", "ray.data", "ray.train.torch"]
    + [f"vapray.{room}.stage" for room in ("data", "captioning", "bank", "latents", "sampling", "evaluation")]
)
TITLES = ("ray::MapWorker", "ray::_make", "ray::_prepare", "ray::_measure", "ray::RayTrainWorker")


class Driver:
    """One start of the command of a stage.

    Args:
        stage: its name.
        arguments: as on the command line.
        log: file that gets what it prints.
        address: a running cluster, or None for a Ray of its own.
        raylet_parent: the process below which the cluster's workers are; None: the driver's own.
    """

    def __init__(
        self, stage: str, arguments: Iterable[str], log: Path, address: str | None, raylet_parent: int | None
    ) -> None:
        start_fork_server()
        words = [*arguments, *([f"cluster.address={address}"] if address else [])]
        self._process = FORKS.Process(target=_drive, args=(stage, words, log))
        self._process.start()
        self.started = time.monotonic()
        self._ancestor = raylet_parent or self._process.pid
        self._own = raylet_parent is None
        self.seen: dict[psutil.Process, str] = {}

    def is_running(self) -> bool:
        """Not ended yet."""
        return self._process.exitcode is None

    def workers(self, *, busy: bool = False) -> list[psutil.Process]:
        """Live processes that work for the stage; those at work if there are any and ``busy`` is wanted."""
        family = {process: _title(process) for process in _descendants(self._ancestor)}
        found = {process: title for process, title in family.items() if title.startswith(TITLES)}
        self.seen |= family if self._own else found
        working = [process for process, title in found.items() if not title.endswith(")")]
        return working if busy and working else list(found)

    def kill(self) -> bool:
        """SIGKILL; True if that is what ended it."""
        self.workers()
        self._process.kill()
        self._process.join()
        return self._process.exitcode == -9

    def wait(self, seconds: float) -> int | None:
        """Its exit code, or None after so many seconds."""
        self._process.join(seconds)
        return self._process.exitcode


@contextmanager
def cluster(num_cpus: int) -> Iterator[tuple[str, int]]:
    """A one-node cluster of its own for the time of a ``with`` block: (address, pid below which its workers are)."""
    start_fork_server()
    address, here, keeper = _start_cluster(num_cpus)
    try:
        yield address, keeper.pid
    finally:
        here.send("stop")
        keeper.join(30)
        keeper.kill()


def _start_cluster(num_cpus: int) -> tuple[str, Connection, Any]:
    """Start a Ray, up to three times on a busy machine: its address, the pipe that ends it, and its keeper."""
    for _ in range(3):
        here, there = FORKS.Pipe()
        keeper = FORKS.Process(target=_keep_cluster, args=(there, num_cpus))
        keeper.start()
        there.close()  # so that the death of the keeper ends the wait below
        with contextlib.suppress(EOFError):
            return here.recv(), here, keeper
        keeper.join()
    raise RuntimeError("Ray did not start in three attempts")


def killed(process: psutil.Process) -> bool:
    """SIGKILL; True if it was alive and is not any more."""
    if not lives(process):
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()
    return not gone_within(10, [process])


def lives(process: psutil.Process) -> bool:
    """Neither ended nor a zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone_within(seconds: float, processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that still live after so many seconds; returns as soon as none does."""
    deadline = time.monotonic() + seconds
    while left := [process for process in processes if lives(process)]:
        if time.monotonic() > deadline:
            return left
        time.sleep(0.1)
    return []


def start_fork_server() -> None:
    """Once, without the mode of authentication that a Ray of this process leaves in the environment."""
    left = os.environ.pop("RAY_AUTH_MODE", None)
    try:
        forkserver.ensure_running()
    finally:
        if left is not None:
            os.environ["RAY_AUTH_MODE"] = left


def _drive(stage: str, words: list[str], log: Path) -> None:
    from vapray.cli.app import run_job

    os.setsid()
    if any(word.startswith("cluster.address=") for word in words):
        os.environ["RAY_AUTH_MODE"] = "disabled"
    with open(log, "a", buffering=1) as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        run_job(stage, words)


def _keep_cluster(pipe: Connection, num_cpus: int) -> None:
    import ray

    from vapray.runtime.cluster import ENVIRONMENT

    os.setsid()
    # Processes that nobody asked for yet cost a second each, for every driver anew.
    quick = {"RAY_prestart_worker_first_driver": "0", "RAY_enable_worker_prestart": "0"}
    os.environ.update(ENVIRONMENT | quick, RAY_AUTH_MODE="disabled")
    ray.init(num_cpus=num_cpus, include_dashboard=False, log_to_driver=False, object_store_memory=256 * 2**20)
    pipe.send(ray.get_runtime_context().gcs_address)
    pipe.recv()
    ray.shutdown()


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _title(process: psutil.Process) -> str:
    """``ray::...``, or the command with the script that an interpreter runs."""
    try:
        words = process.cmdline() or [""]
        return words[0] if words[0].startswith("ray::") else " ".join(Path(word).name for word in words[:3])
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""
