"""Requests of a stage to the object store: counted on an S3 server, and as the capacity estimate gives them."""

import pickle
from typing import Any

import pyarrow as pa
import pytest

from vapray.capacity.estimate import TableSize
from vapray.capacity.map_stages import MappedStage
from vapray.capacity.pipeline import load_workload
from vapray.capacity.plan import Plan
from vapray.runtime.row_map import MapWorker, receipt_of
from vapray.runtime.work_plan import WorkPlan
from vapray.store.run_store import Store
from vapray.store.tables import TABLES, build_part
from vapray.store.version import Version

ROWS, ROWS_OF_A_PART = 60, 20


def _source(root: str) -> Version:
    source = Store(root).version("images", "source")
    for begin in range(0, ROWS, ROWS_OF_A_PART):
        rows = [{"image_id": f"{number:03d}", "label": 0} for number in range(begin, begin + ROWS_OF_A_PART)]
        source.write_part(build_part(TABLES["images"], rows))
    source.seal(stage="x", sections={}, inputs={}, seconds=0, versions={}, notes={})
    return Store(root).version("images", "source")


def _caption(rows: pa.Table) -> pa.Table:
    return build_part(TABLES["captions"], [{"image_id": row["image_id"], "caption": ""} for row in rows.to_pylist()])


def _run(source: Version, output: Version, batch_rows: int) -> int:
    """Requests of ``PipelineRunner`` and ``map_rows``, one after the other, with one actor."""
    source.manifest()
    with output.lease() as lease:
        output.manifest()
        output.adopt_parts(print)
        plan, _ = WorkPlan.of(source, output.receipts.spans, batch_rows, None)
        shipped = pickle.loads(pickle.dumps((source.unread(), output.unread())))
        worker = MapWorker(lambda: _caption, *shipped, ["image_id"])
        for stretch in plan.stretches(1):
            done = worker({"stretch": [stretch]})
            assert set(done["status"]) == {"done"}
            output.receipts.add(map(receipt_of, done["receipt"]))
        assert lease.is_held()
        output.seal(stage="x", sections={}, inputs={}, seconds=0, versions={}, notes={})
    return len(plan)


def _counted(requests: list[Any]) -> tuple[int, int]:
    puts = sum(one.method == "PUT" for one in requests)
    lists = sum(one.method == "GET" and "list-type" in one.path for one in requests)
    return puts, sum(one.method in ("GET", "HEAD") for one in requests) - lists


@pytest.mark.parametrize("batch_rows", [4, 20])
def test_requests_of_a_stage_are_those_that_a_store_counts(root, proxy, batch_rows):
    source = _source(root)
    proxy.requests.clear()
    items = _run(source, Store(root).version("captions", "output"), batch_rows)
    puts, gets = _counted(proxy.requests)
    plan = Plan(images=ROWS, settings=(f"pools.caption.batch_rows={batch_rows}",))
    size = TableSize(ROWS, ROWS // ROWS_OF_A_PART, 2000 * ROWS // ROWS_OF_A_PART)
    estimate = MappedStage("caption", size, load_workload(plan)).estimate()
    assert items == ROWS // batch_rows
    assert puts == estimate.puts
    assert gets == pytest.approx(estimate.gets, abs=4)


def test_large_parts_are_read_by_ranges():
    small, large = (TableSize(100, 100, 100 * size).gets_per_part for size in (2e6, 40e6))
    assert large == 2.5 * small
