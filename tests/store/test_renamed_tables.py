"""Runs of version 0.1.0: tables, columns and inputs are read under their present names; added columns are empty."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vapray.store.manifest import Manifest, Part
from vapray.store.part_list import PartList
from vapray.store.run_store import Store
from vapray.store.tables import ADDED_COLUMNS, RENAMED_COLUMNS, RENAMED_TABLES, TABLES, build_part
from vapray.store.version import Version

NAME = "0123456789ab"
TOKENS = [
    {"image_id": one, "label": 0, "split": "train", "caption": f"a lesion {one}", "num_tokens": number, "width": 4}
    for number, one in enumerate("abc", start=2)
]


def old_part(table: str, rows: list[dict[str, Any]]) -> pa.Table:
    """Rows with the columns of version 0.1.0."""
    old = RENAMED_COLUMNS.get(table, {})
    part = build_part(TABLES[table], rows).drop_columns(ADDED_COLUMNS.get(table, ()))
    return part.rename_columns([old.get(name, name) for name in part.column_names])


def write_old(root: Path, table: str, rows: list[dict[str, Any]], *, sealed: bool = True, **inputs: str) -> Manifest:
    """Write a version in the folder and with the columns of version 0.1.0."""
    folder = root / RENAMED_TABLES.get(table, table) / NAME
    (folder / "parts").mkdir(parents=True)
    name = hashlib.sha256("\n".join(sorted(row[TABLES[table].key] for row in rows)).encode()).hexdigest()[:24]
    path = folder / "parts" / f"{name}.parquet"
    pq.write_table(old_part(table, rows), path, compression="zstd", write_page_checksum=True)
    part = Part(path.name, hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size, len(rows), 0)
    manifest = Manifest("stage", NAME, {}, inputs, PartList.of([part]), len(rows), 0, seconds=1.0, finished=1.0)
    if sealed:
        (folder / "manifest.json").write_bytes(manifest.to_json({}.__setitem__))
    return manifest


def seal(version: Version) -> Manifest:
    return version.seal(stage="bank", sections={}, inputs={}, seconds=1.0, versions={}, notes={})


def test_the_mappings_name_present_tables_and_columns_and_no_two_old_ones_alike() -> None:
    assert RENAMED_TABLES.keys() | RENAMED_COLUMNS.keys() <= TABLES.keys()
    assert len({*RENAMED_TABLES.values()}) == len(RENAMED_TABLES)
    assert TABLES.keys().isdisjoint(RENAMED_TABLES.values())
    for table, columns in RENAMED_COLUMNS.items():
        assert columns.keys() <= {*TABLES[table].schema.names}
        assert not {*columns.values()} & {*TABLES[table].schema.names}


def test_a_finished_version_is_found_under_the_present_name_of_its_table(tmp_path: Path) -> None:
    written, store = write_old(tmp_path, "prompt_bank", TOKENS), Store(str(tmp_path))
    assert store.latest("prompt_bank") == written
    (version,) = store.finished("prompt_bank")
    by_content, opened = store.find_by_content("prompt_bank", written.content_hash), store.version("prompt_bank", NAME)
    for found in (version, by_content, opened):
        assert found and (found.table, found.folder) == ("prompt_bank", f"bank/{NAME}")
        assert found.read(["image_id", "num_tokens"]).to_pylist() == [
            {"image_id": row["image_id"], "num_tokens": row["num_tokens"]} for row in TOKENS
        ]
    assert opened.part_names() == [part.name for part in written.parts]


@pytest.mark.parametrize("table", RENAMED_COLUMNS)
def test_renamed_columns_have_their_present_names_and_types(tmp_path: Path, table: str) -> None:
    spec, renamed = TABLES[table], [*RENAMED_COLUMNS[table]]
    values = {field.name: _value(field.type) for field in spec.schema if field.name != "reject"}
    write_old(tmp_path, table, [values])
    version = Store(str(tmp_path)).version(table, NAME)
    whole = version.read()
    assert whole.to_pylist() == [values | {"reject": None}]
    assert whole.schema.equals(spec.schema)
    (name,) = version.part_names()
    assert version.read_part(name).schema.equals(spec.schema)
    assert version.read_part(name, [*renamed, spec.key]).column_names == [*renamed, spec.key]
    (part,) = version.read_parts(renamed)
    assert part.column_names == [*renamed, spec.key, "reject"]
    assert part.select(renamed).to_pylist() == [{column: values[column] for column in renamed}]
    assert version.committed_keys() == {values[spec.key]}


def _value(kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return ["a brown lesion", "a lesion"]
    if pa.types.is_binary(kind):
        return b"\0\1"
    return "x" if pa.types.is_string(kind) else pa.scalar(1).cast(kind).as_py()


def test_a_run_that_is_continued_has_both_and_writes_the_present_name(tmp_path: Path) -> None:
    written, store = write_old(tmp_path, "prompt_bank", TOKENS), Store(str(tmp_path))
    version = store.version("prompt_bank", "another")
    version.write_part(build_part(TABLES["prompt_bank"], TOKENS[:1]))
    newer = seal(version)
    assert store.latest("prompt_bank") == newer
    assert [one.folder for one in store.finished("prompt_bank")] == ["prompt_bank/another", f"bank/{NAME}"]
    older = store.find_by_content("prompt_bank", written.content_hash)
    assert older and older.read(["num_tokens"]).column(0).to_pylist() == [2, 3, 4]
    assert store.files.names("bank") == [NAME]


def test_an_unfinished_version_is_written_anew_under_the_present_name(tmp_path: Path) -> None:
    write_old(tmp_path, "prompt_bank", TOKENS, sealed=False)
    store = Store(str(tmp_path))
    assert store.latest("prompt_bank") is None
    version = store.version("prompt_bank", NAME)
    assert version.part_names() == []
    version.write_part(build_part(TABLES["prompt_bank"], TOKENS))
    assert store.files.names("prompt_bank") == [NAME]
    assert version.read(["image_id"]).column(0).to_pylist() == ["a", "b", "c"]


def test_inputs_have_their_present_names(tmp_path: Path) -> None:
    old = {"bank": "1", "examinations": "2", "given captions": "3", "another run's bank": "4", "images": "5"}
    written = write_old(tmp_path, "captions", [{"image_id": "a", "impression": "round"}], **old)
    found = Store(str(tmp_path)).latest("captions")
    assert found and found.content_hash == written.content_hash
    assert found.inputs == {
        "prompt_bank": "1",
        "audit_measurements": "2",
        "captions file": "3",
        "caption run": "4",
        "images": "5",
    }


IMAGES = [{"image_id": one, "label": 0, "split": "train", "group": one, "path": f"/{one}.png"} for one in "abc"]


def test_added_columns_are_empty_texts_in_a_finished_version(tmp_path: Path) -> None:
    write_old(tmp_path, "images", IMAGES)
    version = Store(str(tmp_path)).version("images", NAME)
    assert version.read().schema == TABLES["images"].schema
    assert {tuple(row.values()) for row in version.read(ADDED_COLUMNS["images"]).to_pylist()} == {("",) * 4}
    assert version.read(["subject", "path"]).to_pylist()[1] == {"subject": "", "path": "/b.png"}


def test_an_unfinished_version_without_the_added_columns_is_written_anew(tmp_path: Path) -> None:
    write_old(tmp_path, "images", IMAGES, sealed=False)
    version = Store(str(tmp_path)).version("images", NAME)
    rows = build_part(TABLES["images"], [row | dict.fromkeys(ADDED_COLUMNS["images"], "x") for row in IMAGES])
    version.write_part(rows)
    assert version.read(["licence"]).column(0).to_pylist() == ["x"] * 3
    (tmp_path / "images").rename(tmp_path / "gone")
    write_old(tmp_path, "images", IMAGES, sealed=False)
    version.adopt_parts(print)
    assert version.part_names() == []
