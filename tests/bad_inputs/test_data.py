"""Bad datasets and tables: one error that tells all that is wrong."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vapray.data.folder import Folder
from vapray.data.isic2018 import Isic2018
from vapray.data.phantom.layout import write_isic2018
from vapray.store.files import FileStore
from vapray.store.tables import ADDED_COLUMNS
from vapray.store.version import Version

from .dicom_files import make_dicom
from .refusal import DATA, refused


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """polyp/0.png .. polyp/9.png"""
    folder = tmp_path / "photos"
    (folder / "polyp").mkdir(parents=True)
    for number in range(10):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(folder / "polyp" / f"{number}.png")
    return folder


TABLES = {
    "no label column": ("file_name,kind\npolyp/0.png,a\n", "no column label; the header has file_name, kind"),
    "missing files": (
        "file_name,label\n" + "".join(f"gone/{number}.png,a\n" for number in range(7)),
        "7 files (gone/0.png, gone/1.png, gone/2.png, gone/3.png, gone/4.png, ...) not found",
    ),
    "a folder for a file": ("file_name,label\npolyp,a\n", "1 file (polyp) not found"),
    "a name as long as a novel": (f"file_name,label\n{'x' * 5000},a\n", f"1 file ({'x' * 100}...) not found"),
    "empty file name": ("file_name,label\n,a\n", "1 file () not found"),
    "empty label": ("file_name,label\npolyp/0.png,\n", "1 row (polyp/0.png) without a label; fill it in"),
    "duplicate ids": ("file_name,label\npolyp/0.png,a\npolyp/0.png,b\n", "1 duplicate id (polyp/0); keep one row of"),
    "unknown split": (
        "file_name,label,split\npolyp/0.png,a,holdout\n",
        "1 unknown split (holdout); accepted: train, training, validation",
    ),
    "some splits": (
        "file_name,label,split\npolyp/0.png,a,train\npolyp/1.png,a,\n",
        "1 of 2 rows have no split; give all",
    ),
    "ragged": (
        "file_name,label\npolyp/0.png,a,b\npolyp/1.png\n",
        "2 rows (2, 3) with more or fewer cells than the header's 2",
    ),
    "header only": ("file_name,label\n", "no rows; expected a header line and one line per image"),
    "zero bytes": ("", "no rows"),
    "not UTF-8": (
        "file_name,label\npolyp/0.png,caf\xe9\n".encode("latin-1"),
        "not UTF-8 (byte 31). Fix: save it as UTF-8",
    ),
}


@pytest.mark.parametrize(("content", "words"), TABLES.values(), ids=TABLES)
def test_a_metadata_table_that_cannot_be_used(content: str | bytes, words: str, root: Path) -> None:
    table = root / "metadata.csv"
    table.write_bytes(content.encode() if isinstance(content, str) else content)
    refused(DATA, lambda: Folder(root).records(), table, words)


def test_all_that_is_wrong_with_a_table_is_told_at_once(root: Path) -> None:
    rows = ["polyp/0.png,a,train,p", "polyp/0.png,a,test,p", "../x.png,a,train,q", "gone.png,,train,q"]
    (root / "metadata.csv").write_text("\n".join(["file_name,label,split,group", *rows]))
    refused(
        DATA,
        lambda: Folder(root).records(),
        "5 problems",
        f"1 file name (../x.png) outside of {root}; copy the files into it",
        "1 file (gone.png) not found",
        "1 row (gone.png) without a label",
        "1 duplicate id (polyp/0)",
        "1 group (p: test and train) on two sides of a split",
    )


def test_a_byte_order_mark_is_no_mistake(root: Path) -> None:
    (root / "metadata.csv").write_bytes(b"\xef\xbb\xbffile_name,label\r\npolyp/0.png,a\r\n")
    assert [record.image_id for record in Folder(root).records()] == ["polyp/0"]


@pytest.mark.parametrize(
    "name", ["../secret.png", "polyp/../../secret.png", "/etc/hostname", "link.png", "away/secret.png", "a\0b.png"]
)
def test_nothing_outside_of_the_folder_is_read(root: Path, name: str) -> None:
    Image.new("RGB", (4, 4)).save(root.parent / "secret.png")
    (root / "link.png").symlink_to(root.parent / "secret.png")
    (root / "away").symlink_to(root.parent)
    (root / "metadata.jsonl").write_text(json.dumps({"file_name": name, "label": "a"}))
    refused(DATA, lambda: Folder(root).records(), "1 file name", f"outside of {root}")


def test_lines_that_are_no_json_are_counted_and_the_first_five_named(root: Path) -> None:
    good = '{"file_name": "polyp/0.png", "label": "a"}'
    bad = ['{"file_name', "[1, 2]", '{"file_name": "polyp/0.png"}', "[" * 100_000, "3", "null"]
    (root / "metadata.jsonl").write_text("\n".join([good, *bad]))
    refused(
        DATA,
        lambda: Folder(root).records(),
        "metadata.jsonl: 6 lines (2, 3, 4, 5, 6, ...) not a JSON object with file_name",
    )


@pytest.mark.parametrize("name", ["metadata.parquet", "metadata.xlsx", "Metadata.CSV"])
def test_a_table_of_another_kind_is_not_passed_over(root: Path, name: str) -> None:
    pq.write_table(pa.table({"file_name": ["polyp/0.png"], "label": ["a"]}), root / name)
    refused(
        DATA,
        lambda: Folder(root).records(),
        f"1 table ({name}) not read. Fix: save it as metadata.csv or metadata.jsonl",
    )


def test_two_tables_are_one_too_many(root: Path) -> None:
    for name in ("metadata.csv", "metadata.jsonl"):
        (root / name).touch()
    refused(DATA, lambda: Folder(root).records(), "both metadata.csv and metadata.jsonl exist. Fix: keep one")


def test_folders_that_are_empty_or_not_there(tmp_path: Path) -> None:
    refused(DATA, lambda: Folder(tmp_path).records(), f"{tmp_path}: no images. Fix: write metadata.csv")
    refused(DATA, lambda: Folder(tmp_path / "gone"), f"{tmp_path / 'gone'}: no such folder. Fix: set data.root")
    refused(
        DATA, lambda: Isic2018(tmp_path), "no ISIC2018_Task3_Training_GroundTruth.csv (or .gz)", "data.source=folder"
    )


def test_the_same_patients_in_training_and_test_are_counted_and_the_first_five_named(root: Path) -> None:
    rows = [f"polyp/{number}.png,a,{'train' if number < 7 else 'test'},p{number % 7}" for number in range(10)]
    (root / "metadata.csv").write_text("\n".join(["file_name,label,split,group", *rows]))
    refused(
        DATA, lambda: Folder(root).records(), "3 groups (p0: test and train, p1: test and train, p2", "keep a lesion or"
    )


def test_all_that_is_wrong_with_an_isic_folder_is_told_at_once(tmp_path: Path) -> None:
    folder = write_isic2018(
        tmp_path / "drawn", modality="dermoscopy", n_images=20, image_width=32, image_height=24
    ).root
    for part in ("Training", "Test"):
        table = folder / f"ISIC2018_Task3_{part}_GroundTruth" / f"ISIC2018_Task3_{part}_GroundTruth.csv"
        table.write_text(table.read_text().replace(",1.0", ",0.5", 1) + "GONE,1.0,0.0,0.0,0.0,0.0\n")
    training, test = (f"ISIC2018_Task3_{part}_GroundTruth.csv" for part in ("Training", "Test"))
    refused(
        DATA,
        lambda: Isic2018(folder).records(),
        "4 problems",
        f"{folder}: {training}: 1 image (GONE) not in ISIC2018_Task3_Training_Input",
        f"{training}: 1 row (PHANTOM_",
        f"{test}: 1 image (GONE)",
        "not one-hot; exactly one class must be 1.0",
    )


def test_a_patient_of_dicom_files_on_both_sides_of_a_split_is_counted_and_not_named(tmp_path: Path) -> None:
    for side in ("train", "test"):
        (tmp_path / side / "a").mkdir(parents=True)
        (tmp_path / side / "a" / "0.dcm").write_bytes(make_dicom(PatientID="X-1"))
    assert "X-1" not in refused(DATA, lambda: Folder(tmp_path).records(), "1 group (patient-", "two sides of a split")


IMAGE = pa.array([b"x", b"y"])
PARQUET = {
    "no image column": ({"picture": IMAGE, "label": ["a", "b"]}, "no column image; the header has picture, label"),
    "no label column": ({"image": IMAGE}, "no column label; the header has image"),
    "pictures by name": (
        {"image": ["a.png", "b.png"], "label": ["a", "b"]},
        "column image is string; expected binary",
    ),
    "a struct without bytes": (
        {"image": [{"path": "a.png"}] * 2, "label": ["a", "b"]},
        "column image is struct<path",
    ),
    "labels in between": ({"image": IMAGE, "label": [0.5, 1.0]}, "column label is double; expected text or whole"),
    "no label at all": ({"image": IMAGE, "label": [-1, None]}, "no row of 1 Parquet file (photos.parquet) has a label"),
    "no rows": (
        {"image": pa.array([], pa.binary()), "label": pa.array([], pa.string())},
        "no rows; expected one image",
    ),
    "unknown split": ({"image": IMAGE, "label": ["a", "b"], "split": ["x", "x"]}, "1 unknown split (x)"),
    "a group on two sides": (
        {"image": IMAGE, "label": ["a", "b"], "split": ["train", "test"], "group": ["p", "p"]},
        "1 group (p: test and train) on two sides of a split",
    ),
}


@pytest.mark.parametrize(("columns", "words"), PARQUET.values(), ids=PARQUET)
def test_a_parquet_file_of_pictures_that_cannot_be_used(columns: dict[str, object], words: str, tmp_path: Path) -> None:
    pq.write_table(pa.table(columns), tmp_path / "photos.parquet")
    refused(DATA, lambda: Folder(tmp_path).records(), tmp_path, words)


def test_a_parquet_file_of_pictures_that_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "photos.parquet"
    pq.write_table(pa.table({"image": IMAGE, "label": ["a", "b"]}), path)
    path.write_bytes(path.read_bytes()[:-20])
    refused(DATA, lambda: Folder(tmp_path).records(), path, "cannot be read as Parquet", "copy it again")


ROWS = {
    "image_id": ["a", "b"],
    "label": pa.array([0, 1], pa.int32()),
    "split": ["train", "train"],
    "group": ["g", "h"],
    "class": ["x", "y"],
    "path": ["/a.png", "/b.png"],
    "text": ["", ""],
    **{name: ["", ""] for name in ADDED_COLUMNS["ingest_plan"]},
    "reject": pa.nulls(2, pa.string()),
}


@pytest.mark.parametrize("damage", ["cut", "column type", "column missing", "no parquet"])
def test_a_part_of_a_table_that_is_not_what_was_written(tmp_path: Path, damage: str) -> None:
    version = Version(FileStore(str(tmp_path)), "ingest_plan", "abc")
    name = version.write_part(pa.table(ROWS)).name
    version.seal(stage="ingest", sections={}, inputs={}, seconds=0.0, versions={}, notes={})
    path = tmp_path / "ingest_plan" / "abc" / "parts" / name
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "no parquet":
        path.write_text("image_id,label\n")
    else:
        other = {"label": ["zero", "one"]} if damage == "column type" else {"label": None}
        pq.write_table(pa.table({key: value for key, value in (ROWS | other).items() if value is not None}), path)
    again = Version(FileStore(str(tmp_path)), "ingest_plan", "abc")
    refused(DATA, again.read, path, "missing or damaged (", "run the same command again")
