"""How often a stage asks the store: counted on an S3 server, beside what is said of it."""

import json
import pickle
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pytest

from vapray.capacity.requests import PartFlow, Requests
from vapray.row_map import PartWorker, _plan
from vapray.store import Store, Version
from vapray.tables import REJECT, TABLES, part_of

ROWS, ROWS_OF_A_PART = 60, 20


def _source(root: str) -> Version:
    source = Store(root).version("images", "source")
    for begin in range(0, ROWS, ROWS_OF_A_PART):
        rows = [{"image_id": f"{number:03d}", "label": 0} for number in range(begin, begin + ROWS_OF_A_PART)]
        source.write_part(part_of(TABLES["images"], rows))
    source.seal(stage="x", sections={}, inputs={}, seconds=0, versions={}, notes={})
    return Store(root).version("images", "source")


def _caption(rows: pa.Table) -> pa.Table:
    return part_of(TABLES["captions"], [{"image_id": row["image_id"], "caption": ""} for row in rows.to_pylist()])


def _run(source: Version, output: Version, batch_rows: int) -> int:
    """What ``Walk`` and ``map_rows`` ask for, one after the other, with one actor."""
    source.manifest()
    with output.lease() as lease:
        output.manifest()
        output.mend(print)
        items, _ = _plan(source, output.keys(), "{}", batch_rows, None)
        shipped = pickle.loads(pickle.dumps((source, output)))
        worker = PartWorker(lambda: _caption, *shipped, ["image_id"])
        for item in items:
            assert worker({"item": [json.dumps(asdict(item))]})["error"] == [b""]
        assert sum(part.num_rows for part in output.read_parts([REJECT], rejects=True)) == ROWS
        assert lease.is_held()
        output.seal(stage="x", sections={}, inputs={}, seconds=0, versions={}, notes={})
    return len(items)


def _counted(requests: list[Any]) -> Requests:
    puts = sum(one.method == "PUT" for one in requests)
    lists = sum(one.method == "GET" and "list-type" in one.path for one in requests)
    return Requests(puts, sum(one.method in ("GET", "HEAD") for one in requests) - lists, lists)


@pytest.mark.parametrize("batch_rows", [4, 20])
def test_requests_of_a_stage_are_those_that_a_store_counts(root, proxy, batch_rows):
    source = _source(root)
    proxy.requests.clear()
    items = _run(source, Store(root).version("captions", "output"), batch_rows)
    counted = _counted(proxy.requests)
    said = PartFlow(ROWS // ROWS_OF_A_PART, 2000, True, items, 2000, actors=1).requests(seconds=0)
    assert items == ROWS // batch_rows
    assert counted.puts == said.puts
    assert counted.gets == pytest.approx(said.gets, abs=4)
    assert counted.lists == pytest.approx(said.lists, abs=4)


def test_the_lease_asks_for_as_long_as_the_stage_lasts():
    flow = PartFlow(1, 2000, True, 1, 2000, actors=1)
    short, hour = flow.requests(seconds=1), flow.requests(seconds=3600)
    assert (hour.puts - short.puts, hour.lists - short.lists, hour.gets - short.gets) == (240, 240, 0)


def test_large_parts_are_read_by_ranges_and_many_are_listed_by_pages():
    small, large = (PartFlow(100, size, True, 5000, size, actors=10) for size in (2e6, 40e6))
    assert large.check_gets == 2.5 * small.check_gets
    assert large.scan_gets > small.scan_gets
    assert small.requests(0).lists - PartFlow(100, 2e6, True, 500, 2e6, actors=10).requests(0).lists == 3 * 4
