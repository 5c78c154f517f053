"""ChestX-ray14: single findings, the official test patients, either release of the table."""

from collections import Counter
from pathlib import Path

import pytest

from tests.bad_inputs.refusal import DATA, refused
from vapray.data.chestxray14 import ChestXray14
from vapray.data.splits import crossing_groups
from vapray.errors import DataError

from .layouts import write_chestxray14

FINDINGS = [["Mass", "Mass|Nodule"], ["Nodule"], ["No Finding", "Mass"], ["Nodule", "Nodule"], ["No Finding"]] * 6
"""Thirty patients; of the last five, one after the other, the test is made."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_chestxray14(tmp_path / "cxr", FINDINGS, tested=5)


def test_pictures_with_one_finding_are_kept(root: Path) -> None:
    source = ChestXray14(root)
    assert source.class_names == ("Mass", "Nodule")
    records = source.records()
    assert Counter(record.class_name for record in records) == {"Mass": 12, "Nodule": 18}
    assert all(Path(record.path).is_file() and Path(record.path).stem == record.image_id for record in records)


def test_no_finding_is_a_class_on_request_behind_the_others(root: Path) -> None:
    source = ChestXray14(root, no_finding=True)
    assert source.class_names == ("Mass", "Nodule", "No Finding")
    assert Counter(record.class_name for record in source.records())["No Finding"] == 12


def test_the_official_test_is_kept_and_validation_comes_out_of_the_rest_by_patient(root: Path) -> None:
    records = ChestXray14(root, validation_share=0.2).records()
    assert {record.group for record in records if record.split == "test"} == {"26", "27", "28", "29"}
    assert Counter(record.split for record in records) == {"train": 20, "validation": 5, "test": 5}
    assert not list(crossing_groups((record.group, record.split) for record in records))


def test_both_releases_of_the_table_give_the_same(root: Path, tmp_path: Path) -> None:
    first = write_chestxray14(tmp_path / "first", FINDINGS, tested=5, first_release=True)
    assert "060Y" in (first / "Data_Entry_2017.csv").read_text()

    def told(folder: Path) -> list[tuple[str, str, str, str]]:
        return [(r.image_id, r.class_name, r.split, r.group) for r in ChestXray14(folder).records()]

    assert told(first) == told(root)


def test_what_is_left_out_is_counted(root: Path) -> None:
    (note,) = ChestXray14(root).notes()
    assert note.startswith(
        "Of 48 images 30 show one finding and are kept, 6 show several and are left out, 12 show none"
    )
    assert "data.no_finding=true" in note


def test_the_signature_follows_the_lists(root: Path) -> None:
    before = ChestXray14(root).signature()
    assert before == ChestXray14(root).signature()
    (root / "test_list.txt").write_text((root / "test_list.txt").read_text() + "\n")
    assert ChestXray14(root).signature() != before


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


BROKEN = {
    "no table": (lambda root: (root / "Data_Entry_2017_v2020.csv").unlink(), r"no Data_Entry_2017\*.csv"),
    "two tables": (lambda root: (root / "Data_Entry_2017.csv").touch(), "2 tables .* for one dataset; keep one"),
    "no list": (lambda root: (root / "test_list.txt").unlink(), "no test_list.txt"),
    "no picture": (
        lambda root: (root / "images" / "00000001_000.png").unlink(),
        r"1 image \(00000001_000\) not in images\*",
    ),
    "no column": (
        lambda root: edit(root / "Data_Entry_2017_v2020.csv", "Finding Labels", "Labels"),
        "no column Finding Labels",
    ),
    "no finding": (
        lambda root: edit(root / "Data_Entry_2017_v2020.csv", ",Mass,", ",,"),
        "1 row .* without Finding Labels",
    ),
    "on neither list": (
        lambda root: edit(root / "test_list.txt", "00000028_000.png\n", ""),
        "1 image .* on neither list",
    ),
    "on both lists": (
        lambda root: edit(root / "test_list.txt", "0000002", "00000001_000.png\n0000002"),
        "1 duplicate id",
    ),
    "unknown on a list": (
        lambda root: edit(root / "test_list.txt", "0000002", "X.png\n0000002"),
        r"1 listed image \(X.png\) not in",
    ),
    "patient on both": (
        lambda root: edit(root / "Data_Entry_2017_v2020.csv", ",26,60", ",1,60"),
        "1 group .*1: test and train",
    ),
}


@pytest.mark.parametrize(("damage", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_folder_is_an_error_that_says_where_and_what(damage, message: str, root: Path) -> None:  # type: ignore[no-untyped-def]
    damage(root)
    with pytest.raises(DataError, match=message) as caught:
        ChestXray14(root).records()
    assert str(root) in str(caught.value)


def test_resized_images_and_lists_of_kaggle_are_read(tmp_path: Path) -> None:
    root = write_chestxray14(tmp_path, [["Mass"], ["Nodule"], ["Mass"]], tested=1)
    before = {(record.image_id, record.split) for record in ChestXray14(root).records()}
    (root / "images-224" / "images-224").mkdir(parents=True)
    for image in root.glob("images*/**/*.png"):
        image.rename(root / "images-224" / "images-224" / image.name)
    for name in ("train_val_list", "test_list"):
        (root / f"{name}.txt").rename(root / f"{name}_NIH.txt")
    assert {(record.image_id, record.split) for record in ChestXray14(root).records()} == before


def test_full_and_resized_images_beside_one_another_are_refused(tmp_path: Path) -> None:
    root = write_chestxray14(tmp_path, [["Mass"], ["Nodule"], ["Mass"]], tested=1)
    (root / "images-224").mkdir()
    (root / "images-224" / "00000001_000.png").write_bytes(b"smaller")
    refused(
        DATA, lambda: ChestXray14(root).records(), "1 id (00000001_000: images", "of several files; keep one file of"
    )
