"""Work items: every row without a result is in one of them, and in no other."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.store.test_version import seal
from vapray.runtime.work_plan import ITEMS_OF_A_STRETCH, WorkPlan, read_item, stretch_length, work_items
from vapray.store.manifest import Part
from vapray.store.receipts import SPAN, source_key
from vapray.store.run_store import Store
from vapray.store.tables import TABLES, build_part
from vapray.store.version import Version

SIZES = (7, 1, 12)
ROWS = sum(SIZES)


def source(folder: Path, *, rejects: bool, is_sealed: bool = True) -> Version:
    """Rows 000, 001, ...; every fifth is a reject, every third is held out."""
    version = Store(str(folder)).version("images", "v")
    for first, size in zip(np.cumsum((0, *SIZES)), SIZES, strict=False):
        numbers = range(first, first + size)
        bad = {f"{n:03d}": "bad" for n in numbers if rejects and n % 5 == 0}
        good = [{"image_id": f"{n:03d}", "split": "test" if n % 3 == 0 else "train"} for n in numbers]
        part = build_part(TABLES["images"], [row for row in good if row["image_id"] not in bad], bad)
        version.write_part(part.sort_by("image_id"))
    if is_sealed:
        seal(version)
    return version


def expected(*, rejects: bool, split: bool) -> list[str]:
    return [
        f"{n:03d}" for n in range(ROWS) if not (rejects and n % 5 == 0) and not (split and n % 3 == 0)
    ]  # fmt: skip


@pytest.fixture(scope="module", params=[(False, True), (True, True), (True, False)], ids=str)
def case(request, tmp_path_factory):
    rejects, is_sealed = request.param
    return rejects, source(tmp_path_factory.mktemp("source"), rejects=rejects, is_sealed=is_sealed)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12), st.integers(1, 6)), max_size=6),
    st.integers(1, 9), st.booleans(), st.integers(1, 3),
)  # fmt: skip
def test_items_and_spans_with_a_result_are_all_rows_once(case, drawn, batch_rows, split, actors):
    rejects, version = case
    where = {"split": ["train"]} if split else None
    names = version.part_names()
    done = np.array([(b"x", source_key(names[p]), begin, begin + length, 1) for p, begin, length in drawn], SPAN)
    plan, asked = WorkPlan.of(version, done, batch_rows, where)
    with_result = set()
    for place, begin, length in drawn:
        ids = version.read_part(names[place], ["image_id"]).column(0).to_pylist()
        with_result |= set(ids[begin : begin + length])
    everything = expected(rejects=rejects, split=split)
    assert asked == len(everything)
    items = [item for stretch in plan.stretches(actors) for item in work_items(stretch)]
    assert items == list(plan)
    found = [read_item(version, item, ["image_id"], where).column(0).to_pylist() for item in items]
    assert [len(rows) for rows in found] == [item.span.asked for item in items]
    assert all(1 <= len(rows) <= batch_rows for rows in found)
    mapped = [row for rows in found for row in rows]
    assert sorted(mapped) == sorted(set(everything) - with_result)
    assert plan.rows == len(mapped)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 9), st.integers(0, ROWS + 3))
def test_a_split_takes_at_least_so_many_rows_and_loses_none(case, batch_rows, rows):
    _, version = case
    plan, asked = WorkPlan.of(version, np.empty(0, SPAN), batch_rows, None)
    taken, rest = plan.split(rows)
    assert min(rows, asked) <= taken.rows <= min(asked, rows + batch_rows)
    both = sorted(
        row for item in (*taken, *rest) for row in read_item(version, item, ["image_id"], None).column(0).to_pylist()
    )
    assert both == sorted(row for item in plan for row in read_item(version, item, ["image_id"], None)[0].to_pylist())


def test_a_split_is_spread_over_the_source():
    parts = [Part(f"{number:024x}.parquet", "", 0, 10, 0) for number in range(100)]
    plan = WorkPlan(parts, np.array([(number, 0, 10, 10) for number in range(100)], np.int32), is_sealed=True)
    taken, _ = plan.split(45)
    assert [int(item.span.source[:24], 16) for item in taken] == [0, 22, 44, 66, 88]


def test_few_items_go_out_alone_and_many_together():
    assert [stretch_length(count, 2) for count in (1, 40, 63, 64, 512, 10**6)] == [1, 1, 1, 2, 16, 16]
    assert ITEMS_OF_A_STRETCH == 16


def test_a_source_without_rejects_is_not_read(tmp_path, monkeypatch):
    version = source(tmp_path, rejects=False)
    monkeypatch.setattr(Version, "read_part", lambda *_: pytest.fail("read"))
    plan, asked = WorkPlan.of(version, np.empty(0, SPAN), 4, None)
    assert (len(plan), asked) == (2 + 1 + 3, ROWS)


def test_rows_keep_their_order_and_columns(tmp_path):
    version = source(tmp_path, rejects=True)
    plan, _ = WorkPlan.of(version, np.empty(0, SPAN), 100, {"split": ["test"]})
    for item in plan:
        found = read_item(version, item, ["image_id"], {"split": ["test"]})
        assert found.schema.equals(pa.schema([("image_id", pa.string())]))
        assert found.column(0).to_pylist() == sorted(found.column(0).to_pylist())
