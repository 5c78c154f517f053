"""Map the rows of a table over an actor pool of Ray Data.

    source version (parts)                                   output version
      part a  rows 0..511  ── work items ──►  actor 1  ──►  part x (rows + rejects)
      part b  rows 0..300       (Ray Data)    actor 2  ──►  part y

A work item is a span of a source part whose rows have no result yet. The actor reads them, maps them, commits one part,
and returns a receipt; rows never pass through the driver, which writes the receipts. Rows in the span of a receipt are
not mapped again, and no part that has a receipt is opened.
"""

import json
import logging
import os
import threading
import warnings
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Protocol

import pyarrow as pa

from vapray import errors
from vapray.config import Pool
from vapray.errors import BackendError, EngineDeadError, VaprayError, is_device_failure
from vapray.runtime.cluster import require_resources, unwrap_ray_errors
from vapray.runtime.placement import ResourceDemand
from vapray.runtime.reject_limit import check_rejects
from vapray.runtime.stage_context import StageContext
from vapray.runtime.work_plan import Where, WorkItem, WorkPlan, read_item, work_items
from vapray.store.manifest import Part
from vapray.store.receipts import Receipt, Span
from vapray.store.tables import REJECT
from vapray.store.version import Version

__all__ = ["MapWorker", "RowMapper", "map_rows", "receipt_of", "write_work_list"]

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


def map_rows(
    run: StageContext,
    source: Version,
    build: Callable[[], RowMapper],
    *,
    pool: Pool,
    columns: list[str],
    where: Where | None = None,
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
        pilot: Rows to map at least, and to check for rejects before the others start, in a pool of their own; 0: none.

    Raises:
        BackendError: the cluster cannot run the pool, or an actor died more often than it is restarted.
        RejectLimitError: more rows were rejected than ``run.max_reject_fraction`` allows.
    """
    require_resources(ResourceDemand(f"an actor of {run.name}", pool.bundle), log=run.progress.log)
    if not run.output.receipts.was_read:
        run.output.adopt_parts(run.progress.log)
    plan, asked = WorkPlan.of(source, run.output.receipts.spans, pool.batch_rows, where)
    done = asked - plan.rows
    run.progress.set_total(asked, done=done)
    worker = (build, source.unread(), run.output.unread(), columns, where)
    if done <= pilot < asked:  # after more rows, an earlier run has passed it
        first, plan = plan.split(pilot - done)
        _map_items(run, first, worker, pool)
        check_rejects(run, asked - plan.rows, unstarted=plan.rows)
    _map_items(run, plan, worker, pool)
    check_rejects(run, asked)


def _map_items(run: StageContext, items: WorkPlan, worker: tuple[Any, ...], pool: Pool) -> None:
    if not len(items):
        return
    import ray
    from ray.data import ActorPoolStrategy

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its import resets the level; errors are raised
    rows = [{"stretch": stretch} for stretch in items.stretches(pool.max_size * pool.max_concurrency)]
    with warnings.catch_warnings():
        # Without a bound Ray Data replaces dying actors forever; this deprecated option is the only way to set one.
        warnings.simplefilter("ignore", DeprecationWarning)
        receipts = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            MapWorker,
            fn_constructor_args=worker,
            batch_size=1,
            num_cpus=pool.num_cpus,
            num_gpus=pool.num_gpus,
            resources=pool.resources,
            max_restarts=MAX_ACTOR_RESTARTS,
            max_task_retries=RETRY_UNTIL_RESTARTED,
            max_concurrency=pool.max_concurrency,
            compute=ActorPoolStrategy(
                min_size=min(pool.min_size, len(rows)),
                max_size=min(pool.max_size, len(rows)),
                max_tasks_in_flight_per_actor=2
                * pool.max_concurrency,  # below 1.75 * overlap Ray Data never grows a pool
            ),
        )
    with unwrap_ray_errors(run.name):
        try:
            for receipt in receipts.iter_rows():
                if receipt["status"] == FAILED:
                    raise getattr(errors, receipt["error_type"])(receipt["message"])
                committed = receipt_of(receipt["receipt"])
                run.output.receipts.add([committed])
                run.progress.advance(committed.span.asked if committed.span else 0)
        except ray.exceptions.RayActorError as error:
            raise BackendError(_died(run, error)) from error
        finally:
            run.output.receipts.flush()


def _died(run: StageContext, error: Exception) -> str:
    committed = run.output.receipts.rows + run.output.receipts.rejects
    return (
        f"{run.name}: an actor of pools.{run.name} died after {MAX_ACTOR_RESTARTS} restarts, most often because "
        f"memory ran out. {committed:,} committed rows are kept in {run.output.uri}. "
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

    def __init__(
        self,
        build: Callable[[], RowMapper],
        source: Version,
        output: Version,
        columns: list[str],
        where: Where | None = None,
    ) -> None:
        self._build, self._source, self._output, self._columns, self._where = build, source, output, columns, where
        self._map: RowMapper | None = None
        self._failure: dict[str, list[Any]] | None = None
        self._building = threading.Lock()

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Map the work items of a stretch; a VaprayError is returned, because Ray Data drops the type of errors.

        A dead engine or a failed device ends the process, and the stretch is mapped by another one.
        The driver ends the stage at the first error. Until it does, further work items get the same error.
        """
        results = []
        for item in work_items(batch["stretch"][0]):
            results.append(self._failure or self._map_item(item))
            if self._failure:
                break
        return {name: [value for one in results for value in one[name]] for name in results[0]}

    def _map_item(self, item: WorkItem) -> dict[str, list[Any]]:
        try:
            with self._building:
                self._map = self._map or self._build()
            rows = read_item(self._source, item, self._columns, self._where)
            part = self._output.write_part(self._map(rows), item.span)
            return _result(DONE, receipt=json.dumps({"part": asdict(part), "span": asdict(item.span)}))
        except EngineDeadError:
            os._exit(1)  # Ray starts a new process; this one would fail at every further part
        except VaprayError as error:
            self._failure = _result(FAILED, error_type=type(error).__name__, message=str(error))
            return self._failure
        except RuntimeError as error:
            if is_device_failure(error):
                os._exit(1)
            raise


def receipt_of(text: str) -> Receipt:
    """Parse a receipt that an actor returned."""
    card = json.loads(text)
    return Receipt(Part(**card["part"]), Span(**card["span"]))


def _result(status: str, *, receipt: str = "", error_type: str = "", message: str = "") -> dict[str, list[Any]]:
    return {"status": [status], "receipt": [receipt], "error_type": [error_type], "message": [message]}
