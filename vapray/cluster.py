"""Ray: start or join it, and map the rows of a table over an actor pool.

    source version (parts)                                   output version
      part a  rows 0..511  ── work items ──►  actor 1  ──►  part x (rows + rejects)
      part b  rows 0..300       (Ray Data)    actor 2  ──►  part y

A work item names a part and the rows in it that have no result yet. The actor reads them, maps them, commits one
part, and returns a receipt; rows never pass through the driver. What is committed is not asked for again.
"""

import contextlib
import json
import logging
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from vapray.config import Cluster, Pool
from vapray.errors import BackendError, ConfigError, TooManyRejects, VaprayError
from vapray.progress import StageProgress
from vapray.stage_run import StageRun
from vapray.store import Version
from vapray.tables import REJECT

__all__ = [
    "RowMap",
    "connected",
    "map_rows",
    "plan_rows",
    "require",
    "require_shared_root",
    "run_interruptible",
    "run_remote",
    "watched",
]

Only = Mapping[str, Sequence[str]]
ROWS_OF_A_PLAN_PART = 8192
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",
    "RAY_process_group_cleanup_enabled": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}


class RowMap(Protocol):
    """Maps rows of the source to rows of the output, rejects included; built once in each actor."""

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Rows in, a part of the output table out."""
        ...


@contextmanager
def connected(cluster: Cluster) -> Iterator[None]:
    """Ray for the time of a ``with`` block: the cluster at ``address``, or one embedded in this process.

    Raises:
        BackendError: no cluster answers at ``address``.
    """
    for name, value in ENVIRONMENT.items():  # before Ray is imported, which reads some of them
        os.environ.setdefault(name, value)
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    logging.getLogger("ray").setLevel(logging.ERROR)
    embedded = {
        "num_cpus": cluster.num_cpus or max(4, os.cpu_count() or 1),
        "object_store_memory": cluster.object_store_mb * 2**20,
        "include_dashboard": False,
    }
    on_terminate = signal.getsignal(signal.SIGTERM)
    joins = bool(cluster.address or "RAY_ADDRESS" in os.environ)
    try:
        with _silent_stderr():
            ray.init(**quiet, **({"address": cluster.address or "auto"} if joins else embedded))
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise BackendError(
            f"cluster.address {cluster.address}: no Ray cluster answers ({error}). "
            "Leave cluster.address empty for an embedded Ray, or start one with `ray start --head`."
        ) from error
    signal.signal(signal.SIGTERM, on_terminate)  # Ray has put its own there, which ends with another code
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _silent_stderr() -> Iterator[None]:
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
    for name, wanted in (("CPU", cpus), ("GPU", gpus)):
        if wanted > have.get(name, 0):
            raise BackendError(
                f"{why} needs {wanted:g} {name}s and the cluster has {have.get(name, 0):g}. "
                "Ask for less, raise cluster.num_cpus of an embedded Ray, or add nodes."
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


@dataclass(frozen=True)
class _WorkItem:
    part: str
    rows: list[int]


def map_rows(
    run: StageRun,
    source: Version,
    build: Callable[[], RowMap],
    *,
    pool: Pool,
    columns: list[str],
    only: Only | None = None,
    key: str = "{}",
) -> None:
    """Map the rows of ``source`` into ``run.output``, going on where an earlier run stopped.

    Args:
        run: the stage.
        source: a finished version, or one whose parts are all committed.
        build: makes the map, once in each actor.
        pool: size and resources of the actor pool.
        columns: what the map reads of a row.
        only: column -> accepted values; other rows are not asked for.
        key: output key of a source key; a source row whose output key is committed is done.
    """
    require(cpus=pool.num_cpus, gpus=pool.num_gpus, why=f"an actor of {run.name}")
    items = list(_pending(source, run.output.keys(), key, pool.batch_rows, only))
    todo = sum(len(item.rows) for item in items)
    asked = _count(source, only)
    run.progress.expect(asked, done=asked - todo)
    if items:
        _map_items(run, source, items, build, pool, columns)
    _check_rejects(run, asked)


def _map_items(
    run: StageRun,
    source: Version,
    items: list["_WorkItem"],
    build: Callable[[], RowMap],
    pool: Pool,
    columns: list[str],
) -> None:
    import ray
    from ray.data import ActorPoolStrategy

    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it has set its own level while being imported
    rows = [{"item": json.dumps(asdict(item))} for item in items]
    receipts = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _PartWorker,
        fn_constructor_args=(build, source, run.output, columns),
        batch_size=1,
        num_cpus=pool.num_cpus,
        num_gpus=pool.num_gpus,
        compute=ActorPoolStrategy(min_size=min(pool.min_size, len(items)), max_size=min(pool.max_size, len(items))),
    )
    with readable_errors(run.name):
        for receipt in receipts.iter_rows():
            run.progress.advance(receipt["asked"])


def _check_rejects(run: StageRun, asked: int) -> None:
    parts = [run.output.read_part(name, [REJECT]).column(0) for name in run.output.part_names()]
    reasons = [reason for part in parts for reason in part.drop_null().to_pylist()]
    limit = run.config.run.max_bad_fraction
    if len(reasons) > limit * asked:
        common = ", ".join(f"{reason} ({count:,})" for reason, count in Counter(reasons).most_common(3))
        raise TooManyRejects(
            f"{run.output.uri}: {len(reasons):,} of {asked:,} rows were rejected, more than run.max_bad_fraction "
            f"{limit:g} allows. Most common: {common}. Mend the data, or raise run.max_bad_fraction; "
            f"rejected rows are asked for again after {run.output.uri} is deleted."
        )


def plan_rows(run: StageRun, table: str, rows: pa.Table) -> Version:
    """Write down what a stage sets out to do, as a source for :func:`map_rows`.

    Args:
        run: the stage.
        table: ``records`` or ``plan``.
        rows: all of its columns but ``reject``; the same at every attempt of one fingerprint.
    """
    plan = Version(run.output.files, table, run.output.fingerprint)
    rows = rows.append_column(REJECT, pa.nulls(rows.num_rows, pa.string())).select(plan.kind.schema.names)
    for begin in range(0, rows.num_rows, ROWS_OF_A_PLAN_PART):
        plan.write_part(rows.slice(begin, ROWS_OF_A_PLAN_PART))
    return plan


def run_remote(function: Callable[..., Any], *arguments: Any, pool: Pool) -> Any:
    """Run one function once, somewhere on the cluster with the resources of ``pool``'s actor."""
    import ray

    require(cpus=pool.num_cpus, gpus=pool.num_gpus, why=function.__name__.strip("_"))
    task = ray.remote(num_cpus=pool.num_cpus, num_gpus=pool.num_gpus, max_retries=2)(function)
    with readable_errors(function.__name__.strip("_")):
        return ray.get(task.remote(*arguments))


@contextmanager
def readable_errors(what: str) -> Iterator[None]:
    """Turn Ray's wrapping of an error back into the error, or into a BackendError that names its last line."""
    try:
        yield
    except VaprayError:
        raise
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, VaprayError):
            cause = getattr(cause, "cause", None) or _only_worker_failure(cause) or cause.__cause__
        if cause is not None:
            raise cause from error
        raise BackendError(f"{what} failed: {str(error).strip().splitlines()[-1]}") from error


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


@contextmanager
def watched(progress: StageProgress) -> Iterator[Callable[[int, str], None]]:
    """A function that work elsewhere on the cluster calls with (done, detail) to move this progress."""
    import ray

    board: Any = ray.remote(num_cpus=0)(_Board).remote()
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(board, progress, stop), daemon=True)
    watcher.start()
    try:
        yield partial(_post, board)
    finally:
        stop.set()
        watcher.join()
        ray.kill(board)


class _Board:
    def __init__(self) -> None:
        self._newest = (0, "")

    def post(self, done: int, detail: str) -> None:
        self._newest = (done, detail)

    def newest(self) -> tuple[int, str]:
        return self._newest


def _post(board: Any, done: int, detail: str) -> None:
    board.post.remote(done, detail)


def _watch(board: Any, progress: StageProgress, stop: threading.Event) -> None:
    import ray

    while not stop.wait(0.5):
        with contextlib.suppress(ray.exceptions.RayError):
            progress.reach(*ray.get(board.newest.remote()))


class _PartWorker:
    def __init__(self, build: Callable[[], RowMap], source: Version, output: Version, columns: list[str]) -> None:
        self._map, self._source, self._output, self._columns = build(), source, output, columns

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[int]]:
        item = _WorkItem(**json.loads(batch["item"][0]))
        rows = self._source.read_part(item.part, self._columns).take(item.rows)
        part = self._output.write_part(self._map(rows))
        return {"asked": [len(item.rows)], "rejects": [part.rejects]}


def _pending(source: Version, done: set[str], key: str, batch_rows: int, only: Only | None) -> Iterator[_WorkItem]:
    for name in source.part_names():
        rows = _asked(source, name, only)
        left = [row for row, value in rows if key.format(value) not in done]
        for begin in range(0, len(left), batch_rows):
            yield _WorkItem(name, left[begin : begin + batch_rows])


def _count(source: Version, only: Only | None) -> int:
    return sum(len(_asked(source, name, only)) for name in source.part_names())


def _asked(source: Version, name: str, only: Only | None) -> list[tuple[int, str]]:
    accepted = only or {}
    part = source.read_part(name, [source.kind.key, REJECT, *accepted])
    wanted = pc.is_null(part.column(REJECT))
    for column, values in accepted.items():
        wanted = pc.and_(wanted, pc.is_in(part.column(column), pa.array(values)))
    rows = pc.indices_nonzero(wanted)
    return list(zip(rows.to_pylist(), part.column(source.kind.key).take(rows).to_pylist(), strict=True))
