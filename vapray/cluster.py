"""Ray: start or join it, ask what it has, and run work on it."""

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from vapray.config import Cluster, Pool
from vapray.errors import BackendError, ConfigError, VaprayError
from vapray.reaper import reaped

__all__ = [
    "connected",
    "require",
    "require_shared_root",
    "run_interruptible",
    "run_remote",
    "silent_stderr",
    "survey",
]

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",
    "RAY_process_group_cleanup_enabled": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "OMP_WAIT_POLICY": "PASSIVE",  # torch's threads else spin while they wait, and starve each other on a busy machine
}
RETRIES_OF_A_TASK = 2


@contextmanager
def connected(cluster: Cluster) -> Iterator[None]:
    """Ray for the time of a ``with`` block: the cluster at ``address``, or one embedded in this process.

    Raises:
        BackendError: no cluster answers at ``address``.
    """
    joins = bool(cluster.address or os.environ.get("RAY_ADDRESS"))
    for name, value in ENVIRONMENT.items():  # before Ray is imported, which reads some of them
        os.environ.setdefault(name, value)
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    logging.getLogger("ray").setLevel(logging.ERROR)
    embedded = {
        "address": "local",  # another cluster of this machine is nobody's business
        "num_cpus": cluster.num_cpus or max(4, os.cpu_count() or 1),
        "object_store_memory": cluster.object_store_mb * 2**20,
        "include_dashboard": False,
    }
    on_terminate = signal.getsignal(signal.SIGTERM)
    with contextlib.nullcontext() if joins else reaped("ray"):
        try:
            with silent_stderr():
                ray.init(**quiet, **({"address": cluster.address or "auto"} if joins else embedded))
        except Exception as error:  # a bare one where a node is not up in time
            raise BackendError(_why_no_ray(cluster, joins, error)) from error
        signal.signal(signal.SIGTERM, on_terminate)  # Ray has put its own there, which ends with another code
        try:
            yield
        finally:
            ray.shutdown()


def _why_no_ray(cluster: Cluster, joins: bool, error: Exception) -> str:
    if joins:
        return (
            f"cluster.address {cluster.address or os.environ.get('RAY_ADDRESS')}: no Ray cluster answers ({error}). "
            "Leave cluster.address empty for an embedded Ray, or start one with `ray start --head`."
        )
    return (
        f"the embedded Ray did not start ({error}). Run the command again when the machine is less busy; "
        "`vapray doctor` looks at memory, shared memory and disks."
    )


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Ray's C++ announces its own log level there; what goes wrong is raised as well."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def require(*, cpus: float, gpus: float, why: str) -> None:
    """Refuse at once what would otherwise wait for ever.

    Raises:
        BackendError: the cluster as a whole has less, and nothing is set to add nodes.
    """
    import ray

    have = ray.cluster_resources()
    advice = {
        "CPU": "Ask for less, raise cluster.num_cpus of an embedded Ray, or add nodes.",
        "GPU": "Add nodes with GPUs, or set num_gpus=0 of its pool where a CPU will do.",
    }
    for name, wanted in (("CPU", cpus), ("GPU", gpus)):
        if wanted > have.get(name, 0):
            raise BackendError(
                f"{why} needs {wanted:g} {name}s and the cluster has {have.get(name, 0):g}. {advice[name]}"
            )


def require_shared_root(cluster: Cluster, root: str) -> None:
    """Refuse a run whose nodes would each write to a disk of their own.

    Raises:
        ConfigError: more than one node, a local ``run.root``, and no word that it is shared.
    """
    import ray

    nodes = sum(node["Alive"] for node in ray.nodes())
    if nodes > 1 and "://" not in root and not cluster.shared_filesystem:
        raise ConfigError(
            f"run.root {root} is a local path and the cluster has {nodes} nodes. Give a URI such as s3://bucket/run, "
            "or set cluster.shared_filesystem=true if every node mounts this path."
        )


def survey(address: str) -> dict[str, Any]:
    """What the cluster at an address has: ``cpus``, ``gpus``, ``nodes`` and their ``addresses``.

    Raises:
        BackendError: no cluster answers there.
    """
    import ray

    with connected(Cluster(address=address)):
        have = ray.cluster_resources()
        addresses = [node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]]
    return {
        "cpus": have.get("CPU", 0),
        "gpus": have.get("GPU", 0),
        "nodes": len(addresses),
        "addresses": addresses,
    }


def run_remote(function: Callable[..., Any], *arguments: Any, pool: Pool) -> Any:
    """Run one function once, somewhere on the cluster with the resources of ``pool``'s actor."""
    import ray

    name = function.__name__.strip("_")
    require(cpus=pool.num_cpus, gpus=pool.num_gpus, why=name)
    task = ray.remote(num_cpus=pool.num_cpus, num_gpus=pool.num_gpus, max_retries=RETRIES_OF_A_TASK)(function)
    with readable_errors(name):
        try:
            return ray.get(task.remote(*arguments))
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
            raise BackendError(
                f"{name}: its process died {RETRIES_OF_A_TASK + 1} times. Most often memory ran out: free some, or ask "
                "for less, and run the same command again."
            ) from error


@contextmanager
def readable_errors(what: str) -> Iterator[None]:
    """Turn Ray's wrapping of an error back into the error, or into a BackendError that names its last line."""
    try:
        yield
    except Exception as error:
        if _is_ours(error):
            raise
        cause: BaseException | None = error
        while cause is not None and not _is_ours(cause):
            cause = getattr(cause, "cause", None) or _only_worker_failure(cause) or cause.__cause__
        if cause is not None:
            raise cause from error
        raise BackendError(f"{what} failed: {str(error).strip().splitlines()[-1]}") from error


def _is_ours(error: BaseException) -> bool:
    """A task's error is of its cause's class too, and its text is the traceback: that one is Ray's."""
    return isinstance(error, VaprayError) and not hasattr(error, "cause")


def _only_worker_failure(error: BaseException) -> BaseException | None:
    failures = getattr(error, "worker_failures", None) or {}
    return next(iter(failures.values()), None)


def run_interruptible(function: Callable[[], Any]) -> Any:
    """Call a function of Ray's that would handle Ctrl-C by itself, so that Ctrl-C reaches the caller instead."""
    outcome: list[Any] = []
    thread = threading.Thread(target=_keep_outcome, args=(function, outcome), daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(timeout=1)
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def _keep_outcome(function: Callable[[], Any], outcome: list[Any]) -> None:
    try:
        outcome.append(function())
    except BaseException as error:
        outcome.append(error)
