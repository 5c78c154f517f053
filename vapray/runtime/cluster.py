"""Ray sessions: start or join a cluster, check its resources, and run functions on it."""

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
from vapray.runtime.autoscaler import request_nodes, supports_autoscaling
from vapray.runtime.cluster_address import joined_address
from vapray.runtime.placement import ResourceDemand, placement_advice, shortfall
from vapray.runtime.reaper import reaped

__all__ = [
    "live_nodes",
    "ray_session",
    "require_resources",
    "require_shared_root",
    "run_in_thread",
    "run_remote",
    "suppress_stderr",
]

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "20",  # three checks: Serve kills a proxy that needs longer than a minute
    "RAY_process_group_cleanup_enabled": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ROTATION_MAX_BYTES": str(64 * 2**20),  # of each log of a worker: the service's audit log is one
    "RAY_ROTATION_BACKUP_COUNT": "3",
    "OMP_WAIT_POLICY": "PASSIVE",  # otherwise waiting torch threads spin and starve each other
}
RETRIES_OF_A_TASK = 2


@contextmanager
def ray_session(cluster: Cluster) -> Iterator[None]:
    """Connect to Ray for the time of a ``with`` block: to the cluster at ``address``, or to an embedded one.

    A nested block uses the connection of the outer one.

    Raises:
        BackendError: no cluster answers at ``address``, or the embedded Ray does not start; see also
            :func:`vapray.runtime.cluster_address.joined_address`.
    """
    joined = joined_address(cluster)
    for name, value in ENVIRONMENT.items():  # before Ray is imported, which reads some of them
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    logging.getLogger("ray").setLevel(logging.ERROR)
    embedded = {
        "address": "local",  # do not attach to another Ray cluster on this machine
        "num_cpus": cluster.num_cpus or max(4, os.cpu_count() or 1),
        "object_store_memory": cluster.object_store_mb * 2**20,
        "include_dashboard": False,
    }
    on_terminate = signal.getsignal(signal.SIGTERM)
    with contextlib.nullcontext() if joined else reaped("ray"):
        try:
            with suppress_stderr():
                ray.init(**quiet, **({"address": joined} if joined else embedded))
        except Exception as error:  # Ray raises a bare Exception if a node does not start in time
            raise BackendError(_why_no_ray(joined, error)) from error
        signal.signal(signal.SIGTERM, on_terminate)  # Ray installs a handler that exits with another code
        try:
            yield
        finally:
            ray.shutdown()


def _why_no_ray(joined: str | None, error: Exception) -> str:
    if joined:
        return (
            f"cluster.address or RAY_ADDRESS, {joined}: no Ray cluster answers ({error}). "
            "Fix: leave both empty for an embedded Ray, or start a cluster with `ray start --head`."
        )
    return (
        f"the embedded Ray did not start ({error}). Fix: run the command again when the machine is less busy; "
        "`vapray doctor` checks memory, shared memory and disks."
    )


@contextmanager
def suppress_stderr() -> Iterator[None]:
    """Discard stderr: Ray's C++ code prints its log level there, and its errors are raised anyway."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def require_resources(demand: ResourceDemand, *, log: Callable[[str], None] = print) -> None:
    """Check that the cluster can meet a demand; wait for nodes that an autoscaler adds.

    Args:
        demand: Resources that must be available before work starts.
        log: Logs that the command waits for nodes.

    Raises:
        BackendError: neither the running nodes nor nodes of the autoscaler can meet the demand.
    """
    nodes = live_nodes()
    missing = shortfall(demand, nodes)
    if missing is None:
        return
    if not supports_autoscaling():
        raise BackendError(f"{missing}. {placement_advice(demand, nodes)}")
    if not request_nodes(demand, missing, log):
        raise BackendError(
            f"{missing}, and no node type of its autoscaler can add it. {placement_advice(demand, nodes)}"
        )


def live_nodes() -> dict[str, dict[str, float]]:
    """Total resources of each live node, by its address and the first digits of its id."""
    import ray

    return {
        f"node {node['NodeManagerAddress']} ({node['NodeID'][:6]})": node["Resources"]
        for node in ray.nodes()
        if node["Alive"]
    }


def require_shared_root(cluster: Cluster, root: str) -> None:
    """Check that all nodes write to the same run root.

    Raises:
        ConfigError: more than one node and a local ``run.root`` without ``cluster.shared_filesystem``.
    """
    import ray

    nodes = sum(node["Alive"] for node in ray.nodes())
    if nodes > 1 and "://" not in root and not cluster.shared_filesystem:
        raise ConfigError(
            f"run.root {root} is a local path and the cluster has {nodes} nodes. Fix: give a URI such as "
            "s3://bucket/run, or set cluster.shared_filesystem=true if every node mounts this path."
        )


def run_remote(
    name: str, function: Callable[..., Any], *arguments: Any, pool: Pool, log: Callable[[str], None] = print
) -> Any:
    """Run a function once as a Ray task, with the resources of one actor of ``pool``.

    Args:
        name: Stage name, for messages.
        function: Function to run.
        arguments: Positional arguments of the function.
        pool: Pool that sets the task's resources.
        log: Logs that the command waits for nodes.

    Returns:
        The result of the function.

    Raises:
        BackendError: the cluster cannot meet the demand, or the process died at every attempt.
    """
    import ray

    require_resources(ResourceDemand(f"a task of {name}", pool.bundle), log=log)
    task = ray.remote(
        num_cpus=pool.num_cpus, num_gpus=pool.num_gpus, resources=pool.resources, max_retries=RETRIES_OF_A_TASK
    )(function)
    with unwrap_ray_errors(name):
        try:
            return ray.get(task.remote(*arguments))
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
            raise BackendError(
                f"{name}: its process died {RETRIES_OF_A_TASK + 1} times, most often because memory ran out. Fix: free "
                "memory or request less, and run the same command again."
            ) from error


@contextmanager
def unwrap_ray_errors(what: str) -> Iterator[None]:
    """Unwrap errors that Ray has wrapped: raise the VaprayError inside, else a BackendError with the last line."""
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
    """Check for a VaprayError that is not Ray's wrapper: the wrapper subclasses its cause and holds the traceback."""
    return isinstance(error, VaprayError) and not hasattr(error, "cause")


def _only_worker_failure(error: BaseException) -> BaseException | None:
    failures = getattr(error, "worker_failures", None) or {}
    return next(iter(failures.values()), None)


def run_in_thread(function: Callable[[], Any]) -> Any:
    """Call a function in a thread: Ctrl-C then reaches the caller instead of Ray's own handler."""
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
