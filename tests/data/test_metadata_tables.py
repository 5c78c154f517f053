"""Metadata tables of a folder: where they may be, and the values that are refused."""

import json
from pathlib import Path

import pytest

from tests.bad_inputs.refusal import DATA, refused
from tests.data.layouts import empty_images, write_files
from vapray.data.folder import Folder

UNCLEAR = {
    "a doubled column": ({"metadata.csv": "file_name,label,label\n"}, "1 duplicate column (label); remove one"),
    "a doubled key": (
        {"metadata.jsonl": '{"file_name": "0.jpg", "label": "a", "label": "b"}'},
        "1 line (1) not a JSON object with file_name and label",
    ),
    "tables for a part of the splits": (
        {**empty_images("train/", "test/"), "train/metadata.csv": "file_name,text\nmel/0.jpg,red\n"},
        "1 folder (test) of images without a table beside train/metadata.csv",
    ),
    "a table above another": (
        {"metadata.csv": "file_name,label\n", "train/metadata.csv": "file_name,label\n"},
        "both metadata.csv and train/metadata.csv exist. Fix: keep one",
    ),
    "a label under an unknown name": (
        {**empty_images(""), "metadata.csv": "file_name,diagnosis\nmel/0.jpg,a\n"},
        "no column label; the header has file_name, diagnosis",
    ),
    "no label by folder": ({**empty_images(""), "metadata.csv": "file_name,text\n0.jpg,a\n"}, "no column label"),
    "splits in a part of the names": (
        {"metadata.csv": "file_name,label\ntrain/0.jpg,a\nrest/1.jpg,b\n"},
        "1 folder (rest) beside the splits train",
    ),
    "a label like a split": (
        {"0.jpg": "", "metadata.csv": "file_name,label\n0.jpg,Train\n"},
        "1 class (Train) named like",
    ),
    "both arms": (
        {
            f"{arm}/metadata.jsonl": json.dumps(
                {"file_name": "a/0.png", "sample_id": "0", "arm": arm, "class": "a", "caption": "", "label": 0}
            )
            for arm in ("generated", "untrained")
        },
        "one of several arms of images. Fix: set data.root to the folder of one arm",
    ),
}


@pytest.mark.parametrize(("files", "words"), UNCLEAR.values(), ids=UNCLEAR)
def test_tables_without_a_clear_meaning_is_refused(files: dict[str, str], words: str, tmp_path: Path) -> None:
    refused(DATA, lambda: Folder(write_files(tmp_path, files)).records(), words)


CELLS = [(float("nan"), "nan"), (["mel", "nv"], "['mel', 'nv']"), (1.5, "1.5"), (True, "True"), ({"a": 1}, "{'a': 1}")]


@pytest.mark.parametrize("column", ["label", "group"])
@pytest.mark.parametrize(("value", "shown"), CELLS, ids=[shown for _, shown in CELLS])
def test_a_value_of_json_that_is_no_text_is_refused(column: str, value: object, shown: str, tmp_path: Path) -> None:
    rows = [{"file_name": "0.jpg", "label": "a"}, {"file_name": "1.jpg", "label": "a"} | {column: value}]
    root = write_files(tmp_path, {"0.jpg": "", "1.jpg": "", "metadata.jsonl": "\n".join(map(json.dumps, rows))})
    refused(DATA, lambda: Folder(root).records(), f"1 {column} (line 2: {shown}) neither text nor a whole number")


@pytest.mark.parametrize("column", ["label", "group"])
@pytest.mark.parametrize("value", ["nan", "NaN", "<NA>", "NaT"])
def test_the_text_of_a_missing_value_is_refused(column: str, value: str, tmp_path: Path) -> None:
    row = {"label": "a", "group": "p"} | {column: value}
    table = f"file_name,label,group\n0.jpg,{row['label']},{row['group']}\n"
    root = write_files(tmp_path, {"0.jpg": "", "metadata.csv": table})
    refused(DATA, lambda: Folder(root).records(), f"1 {column} (0.jpg: {value}) standing for a missing value")


def test_an_image_of_any_name_may_have_no_group(tmp_path: Path) -> None:
    root = write_files(tmp_path, {"nan.jpg": "", "metadata.csv": "file_name,label,group\nnan.jpg,a,\n"})
    assert [record.group for record in Folder(root, test_share=0).records()] == ["nan"]


def test_blanks_around_cells_and_whole_numbers_are_texts(tmp_path: Path) -> None:
    lines = [{"file_name": "0.jpg", "label": "mel "}, {"file_name": "1.jpg", "label": "mel"}]
    lines += [{"file_name": "2.jpg", "label": 1}, {"file_name": "3.jpg", "label": "1"}]
    files = {f"{number}.jpg": "" for number in range(4)}
    root = write_files(tmp_path, files | {"metadata.jsonl": "\n".join(map(json.dumps, lines))})
    assert Folder(root).class_names == ("1", "mel")


@pytest.mark.parametrize("level", ["", "train/", "train/mel/"], ids=["root", "splits", "classes"])
def test_tables_may_be_in_the_splits_or_classes(level: str, tmp_path: Path) -> None:
    """Labels and splits come from the folders, texts and groups from the tables."""
    names = sorted(empty_images("train/", "Test/"))
    folders = {"": [""], "train/": ["train/", "Test/"]}.get(level, sorted({f"{n.rpartition('/')[0]}/" for n in names}))
    tables = {
        f"{folder}metadata.csv": "file_name,text,group\n"
        + "".join(f"{n[len(folder) :]},text of {n},{n[:6]}\n" for n in names if n.startswith(folder))
        for folder in folders
    }
    root = write_files(tmp_path, empty_images("train/", "Test/") | tables)
    found = {(r.image_id, r.class_name, r.split, r.text, r.group) for r in Folder(root).records()}
    assert found == {
        (n[:-4], n.split("/")[1], "train" if n.startswith("train") else "test", f"text of {n}", n[:6]) for n in names
    }


@pytest.mark.parametrize("origin", [{}, {"training_licence": "MIT", "training_source": "vapray, trained on x"}])
def test_the_images_of_vapray_are_a_dataset(origin: dict[str, str], tmp_path: Path) -> None:
    row = {"file_name": "mel/s0.png", "sample_id": "s0", "arm": "generated", "label": 3, "class": "mel"}
    row |= {"caption": "a brown lesion", "source_image_id": "x", "seed": 1} | origin
    (record,) = Folder(
        write_files(tmp_path, {"mel/s0.png": "", "metadata.jsonl": json.dumps(row)}), test_share=0
    ).records()
    assert (record.class_name, record.text, record.image_id) == ("mel", "a brown lesion", "mel/s0")
    assert [record.licence, record.source] == ([*origin.values()] or ["", ""]) and record.subject == ""


@pytest.mark.parametrize("name", ["0.jpg", "nv.old/0.jpg"])
def test_names_with_dots_are_kept(name: str, tmp_path: Path) -> None:
    root = write_files(
        tmp_path, {name: "", "mel/0.jpg": "", "metadata.csv": f"file_name,label\n{name},a\nmel/0.jpg,b\n"}
    )
    assert {record.image_id for record in Folder(root).records()} == {name.removesuffix(".jpg"), "mel/0"}
