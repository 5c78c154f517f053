"""Map the rows of a table over an actor pool of Ray Data.

    source version (parts)                                   output version
      part a  rows 0..511  ── work items ──►  actor 1  ──►  part x (rows + rejects)
      part b  rows 0..300       (Ray Data)    actor 2  ──►  part y

A work item names a part and the rows in it that have no result yet. The actor reads them, maps them, commits one
part, and returns a receipt; rows never pass through the driver. Committed rows are not mapped again.
"""

import json
import logging
import os
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from vapray import errors
from vapray.config import Pool
from vapray.errors import BackendError, EngineDeadError, VaprayError, is_device_failure
from vapray.runtime.cluster import require_resources, unwrap_ray_errors
from vapray.runtime.placement import ResourceDemand
from vapray.runtime.reject_limit import check_rejects
from vapray.runtime.stage_context import StageContext
from vapray.store.parts import read_ahead
from vapray.store.tables import REJECT
from vapray.store.version import Version

__all__ = ["MapWorker", "RowMapper", "map_rows", "write_work_list"]

Where = Mapping[str, Sequence[str]]
ROWS_OF_A_PLAN_PART = 8192
MAX_ACTOR_RESTARTS = 5
DONE, FAILED = "done", "failed"
RETRY_UNTIL_RESTARTED = -1
"""Unlimited attempts at a part: Ray detects a lost machine late, and counts every call that it does not answer."""


class RowMapper(Protocol):
    """Map from rows of the source to rows of the output, including rejects; built once in each actor."""

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Map source rows to a part of the output table."""
        ...


@dataclass(frozen=True)
class _WorkItem:
    part: str
    rows: list[int]


def map_rows(
    run: StageContext,
    source: Version,
    build: Callable[[], RowMapper],
    *,
    pool: Pool,
    columns: list[str],
    where: Where | None = None,
    output_key: str = "{}",
    pilot: int = 0,
) -> None:
    """Map the rows of ``source`` into ``run.output``, continuing an earlier run.

    Args:
        run: Context of the stage.
        source: Finished version, or one whose parts are all committed.
        build: Builds the map, once in each actor.
        pool: Size and resources of the actor pool.
        columns: Columns that the map reads.
        where: Accepted values by column; other rows are skipped.
        output_key: Format of the output key of a source key; rows whose output key is committed are skipped.
        pilot: Rows to map and to check for rejects before the others start, in a pool of their own; 0: none.

    Raises:
        BackendError: the cluster cannot run the pool, or an actor died more often than it is restarted.
        RejectLimitError: more rows were rejected than ``run.max_reject_fraction`` allows.
    """
    require_resources(ResourceDemand(f"an actor of {run.name}", pool.bundle), log=run.progress.log)
    items, asked = _plan(source, run.output.committed_keys(), output_key, pool.batch_rows, where)
    todo = sum(len(item.rows) for item in items)
    run.progress.set_total(asked, done=asked - todo)
    if asked - todo <= pilot < asked:  # after more rows, an earlier run has passed it
        first, items = _take_rows(items, pilot - (asked - todo))
        _map_items(run, source, first, build, pool, columns)
        check_rejects(run, pilot, unstarted=asked - pilot)
    _map_items(run, source, items, build, pool, columns)
    check_rejects(run, asked)


def _map_items(
    run: StageContext,
    source: Version,
    items: list["_WorkItem"],
    build: Callable[[], RowMapper],
    pool: Pool,
    columns: list[str],
) -> None:
    if not items:
        return
    import ray
    from ray.data import ActorPoolStrategy

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its import resets the level; errors are raised
    rows = [{"item": json.dumps(asdict(item))} for item in items]
    with warnings.catch_warnings():
        # Without a bound Ray Data replaces dying actors forever; this deprecated option is the only way to set one.
        warnings.simplefilter("ignore", DeprecationWarning)
        receipts = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            MapWorker,
            fn_constructor_args=(build, source, run.output, columns),
            batch_size=1,
            num_cpus=pool.num_cpus,
            num_gpus=pool.num_gpus,
            resources=pool.resources,
            max_restarts=MAX_ACTOR_RESTARTS,
            max_task_retries=RETRY_UNTIL_RESTARTED,
            max_concurrency=pool.max_concurrency,
            compute=ActorPoolStrategy(
                min_size=min(pool.min_size, len(items)),
                max_size=min(pool.max_size, len(items)),
                max_tasks_in_flight_per_actor=2
                * pool.max_concurrency,  # below 1.75 * overlap Ray Data never grows a pool
            ),
        )
    with unwrap_ray_errors(run.name):
        try:
            for receipt in receipts.iter_rows():
                if receipt["status"] == FAILED:
                    raise getattr(errors, receipt["error_type"])(receipt["message"])
                run.progress.advance(receipt["rows"])
        except ray.exceptions.RayActorError as error:
            raise BackendError(_died(run, error)) from error


def _died(run: StageContext, error: Exception) -> str:
    return (
        f"{run.name}: an actor of pools.{run.name} died after {MAX_ACTOR_RESTARTS} restarts, most often because "
        f"memory ran out. {len(run.output.committed_keys()):,} committed rows are kept in {run.output.uri}. "
        f"Ray's error: {str(error).strip().splitlines()[-1]} Fix: lower pools.{run.name}.max_size or "
        "batch_rows and run the same command again. With batch_rows=1, only the rows that kill the actor are left."
    )


def write_work_list(run: StageContext, table: str, rows: pa.Table) -> Version:
    """Write the work list of a stage, as a source for :func:`map_rows`.

    Args:
        run: Context of the stage.
        table: Name of the work list's table, such as ``ingest_plan`` or ``sample_plan``.
        rows: All its columns but ``reject``; identical in every attempt of one fingerprint.

    Returns:
        The version that holds the rows.
    """
    plan = Version(run.output.files, table, run.output.fingerprint)
    rows = rows.append_column(REJECT, pa.nulls(rows.num_rows, pa.string())).select(plan.table_spec.schema.names)
    for begin in range(0, rows.num_rows, ROWS_OF_A_PLAN_PART):
        plan.write_part(rows.slice(begin, ROWS_OF_A_PLAN_PART))
    return plan


class MapWorker:
    """Actor class of a pool: maps work items to committed parts and receipts."""

    def __init__(self, build: Callable[[], RowMapper], source: Version, output: Version, columns: list[str]) -> None:
        self._build, self._source, self._output, self._columns = build, source, output, columns
        self._map: RowMapper | None = None
        self._failure: dict[str, list[Any]] | None = None
        self._building = threading.Lock()

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Map one work item; a VaprayError is returned in the receipt, because Ray Data drops the type of errors.

        A dead engine or a failed device ends the process, and the work item is mapped by another one.
        The driver ends the stage at the first error. Until it does, further work items get the same receipt.
        """
        if self._failure:
            return self._failure
        item = _WorkItem(**json.loads(batch["item"][0]))
        try:
            with self._building:
                self._map = self._map or self._build()
            rows = self._source.read_part(item.part, self._columns).take(item.rows)
            self._output.write_part(self._map(rows))
        except EngineDeadError:
            os._exit(1)  # Ray starts a new process; this one would fail at every further part
        except VaprayError as error:
            self._failure = _receipt(FAILED, error_type=type(error).__name__, message=str(error))
            return self._failure
        except RuntimeError as error:
            if is_device_failure(error):
                os._exit(1)
            raise
        return _receipt(DONE, rows=len(item.rows))


def _receipt(status: str, *, rows: int = 0, error_type: str = "", message: str = "") -> dict[str, list[Any]]:
    return {"status": [status], "rows": [rows], "error_type": [error_type], "message": [message]}


def _plan(
    source: Version, done: set[str], output_key: str, batch_rows: int, where: Where | None
) -> tuple[list[_WorkItem], int]:
    """List the remaining work items, and count all requested rows, including those that are done."""

    def look(name: str) -> tuple[str, list[int], int]:
        rows = _asked(source, name, where)
        return name, [row for row, value in rows if output_key.format(value) not in done], len(rows)

    items, asked = [], 0
    for name, left, count in read_ahead(look, source.part_names()):
        items += [_WorkItem(name, left[begin : begin + batch_rows]) for begin in range(0, len(left), batch_rows)]
        asked += count
    return items, asked


def _take_rows(items: list[_WorkItem], count: int) -> tuple[list[_WorkItem], list[_WorkItem]]:
    """Split off ``count`` rows, from work items that are spread over the source: its parts may be sorted by class."""
    taken, rest = [], []
    stride = max(1, sum(len(item.rows) for item in items) // max(1, count))
    for number in sorted(range(len(items)), key=lambda number: number % stride):
        part, rows = items[number].part, items[number].rows
        taken += [_WorkItem(part, rows[:count])] if count else []
        rest += [_WorkItem(part, rows[count:])] if rows[count:] else []
        count = max(0, count - len(rows))
    return taken, rest


def _asked(source: Version, name: str, where: Where | None) -> list[tuple[int, str]]:
    accepted = where or {}
    part = source.read_part(name, [source.table_spec.key, REJECT, *accepted])
    wanted = pc.is_null(part.column(REJECT))
    for column, values in accepted.items():
        wanted = pc.and_(wanted, pc.is_in(part.column(column), pa.array(values)))
    rows = pc.indices_nonzero(wanted)
    return list(zip(rows.to_pylist(), part.column(source.table_spec.key).take(rows).to_pylist(), strict=True))
