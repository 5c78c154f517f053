"""Versions, parts and manifests."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vapray.errors import DataError
from vapray.store import parts
from vapray.store.receipts import Span
from vapray.store.run_store import Store
from vapray.store.tables import TABLES, build_part, pack, unpack
from vapray.store.version import Manifest, fingerprint


def rows(*ids: str, reject: str | None = None) -> pa.Table:
    images = TABLES["images"]
    if reject:
        return build_part(images, [], dict.fromkeys(ids, reject))
    return build_part(
        images,
        [{"image_id": one, "label": 1, "split": "train", "group": one, "path": f"/{one}"} for one in ids],
    )


def seal(version) -> Manifest:
    return version.seal(stage="ingest", sections={}, inputs={}, seconds=1.0, versions={}, notes={})


@pytest.fixture
def version(tmp_path):
    return Store(str(tmp_path)).version("images", "abc")


def test_rows_come_back_sorted_by_key_without_rejects(version):
    version.write_part(rows("c", "a"))
    version.write_part(rows("b", reject="broken"))
    assert version.read(["image_id"]).column(0).to_pylist() == ["a", "c"]
    assert version.read(["image_id"], rejects=True).column(0).to_pylist() == ["a", "b", "c"]
    assert version.committed_keys() == {"a", "b", "c"}


def test_the_same_rows_written_twice_are_one_part(version):
    first, second = version.write_part(rows("a", "b")), version.write_part(rows("b", "a"))
    assert first.name == second.name
    assert len(version.part_names()) == 1


def test_a_key_in_two_parts_counts_once(version):
    version.write_part(rows("a", "b"))
    version.write_part(rows("b", "c"))
    assert version.read(["image_id"]).column(0).to_pylist() == ["a", "b", "c"]
    assert seal(version).rows == 3


def test_a_row_wins_over_a_reject_only_by_the_name_of_its_part(version):
    parts = {version.write_part(rows("a", "b")).name: 2, version.write_part(rows("b", reject="late")).name: 1}
    winner = min(parts)
    found = version.read(["image_id"]).column(0).to_pylist()
    assert found == (["a", "b"] if parts[winner] == 2 else ["a"])


def test_readers_open_only_what_the_manifest_lists(version):
    version.write_part(rows("a"))
    seal(version)
    version.write_part(rows("straggler"))
    assert version.committed_keys() == {"a"}


def test_an_unfinished_version_is_not_read_by_mistake(version):
    version.write_part(rows("a"))
    with pytest.raises(DataError, match="not finished"):
        version.require_manifest()


def test_a_damaged_part_is_named(version, tmp_path):
    part = version.write_part(rows("a"))
    path = tmp_path / "images" / "abc" / "parts" / part.name
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match=part.name):
        version.read()


def test_a_damaged_part_of_a_finished_version_says_how_nothing_below_runs_again(version):
    part = version.write_part(rows("a"))
    seal(version)
    version.files.write(f"images/abc/parts/{part.name}", b"half")
    with pytest.raises(
        DataError, match=r"manifest\.json and run the same command again with the same pools\.\*\.batch"
    ):
        version.read()


def test_a_damaged_manifest_says_what_to_do(version):
    version.files.write("images/abc/manifest.json", b"{")
    with pytest.raises(DataError, match="delete this file"):
        version.manifest()


def test_the_manifest_survives_its_file(version):
    version.write_part(rows("a"))
    version.write_part(rows("b", reject="broken"))
    manifest = seal(version)
    assert (manifest.rows, manifest.rejects) == (1, 1)
    assert version.manifest() == manifest
    assert version.manifest().content_hash == manifest.content_hash


def test_the_newest_version_is_the_one_finished_last(tmp_path):
    store = Store(str(tmp_path))
    for name in ("one", "two"):
        version = store.version("images", name)
        version.write_part(rows(name))
        last = seal(version)
    assert store.latest("images") == last
    assert store.latest("captions") is None


def test_pandas_reads_a_part_without_us(version, tmp_path):
    pandas = pytest.importorskip("pandas")
    part = version.write_part(rows("a"))
    frame = pandas.read_parquet(tmp_path / "images" / "abc" / "parts" / part.name)
    assert frame["image_id"].tolist() == ["a"]
    assert pq.read_schema(tmp_path / "images" / "abc" / "parts" / part.name).names == TABLES["images"].schema.names


@given(st.lists(st.floats(width=16), min_size=6, max_size=6))
def test_arrays_survive_their_bytes(values):
    import numpy as np

    array = np.array(values, dtype=np.float16).reshape(2, 3)
    np.testing.assert_array_equal(unpack(pack(array), "float16", 2, 3), array)


def test_a_fingerprint_changes_with_everything_that_decides_the_result():
    base = {"stage": "train", "schema": 1, "sections": {"train.steps": 10}, "inputs": {"prompt_bank": "x"}}
    variants = [
        base,
        base | {"stage": "bank"},
        base | {"schema": 2},
        base | {"sections": {"train.steps": 11}},
        base | {"inputs": {"prompt_bank": "y"}},
    ]
    assert len({fingerprint(**variant) for variant in variants}) == len(variants)
    assert fingerprint(**base) == fingerprint(**base)


def test_that_many_parts_are_looked_at_is_said(version, monkeypatch):
    for name in "abcd":
        version.write_part(rows(name))
    said: list[str] = []
    monkeypatch.setattr(parts, "MANY", 3)
    version.adopt_parts(said.append)
    version.adopt_parts(said.append)  # they have receipts now
    assert [line.split(": ")[-1] for line in said] == ["checking 4 parts of an earlier run"]


def test_files_of_other_names_beside_parts_and_receipts_are_left_alone(tmp_path):
    version = Store(str(tmp_path)).version("images", "v")
    written = version.write_part(rows("a"), Span.whole("the test", 1))
    version.adopt_parts(print)
    for folder in ("parts", "receipts"):
        (tmp_path / "images/v" / folder / "copy of it.parquet").write_bytes(b"not ours")
    again = Store(str(tmp_path)).version("images", "v")
    again.adopt_parts(print)
    assert list(seal(again).parts) == [written]
    assert len(list(tmp_path.rglob("copy of it.parquet"))) == 2
