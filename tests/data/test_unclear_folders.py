"""Folders that names alone do not explain: masks, levels of classes, copies, and tables that miss a path."""

from pathlib import Path

import pytest

from tests.bad_inputs.refusal import DATA, refused
from tests.data.layouts import empty_images, write_files
from vapray.data.file_tree import COPY
from vapray.data.folder import Folder

OF_MASKS = {
    "named as masks": ("mel/images/0.png", "mel/lung masks/0.png", "mel/infection masks/0.png"),
    "named otherwise": ("mel/images/0.png", "mel/labels/0.png"),
    "with a prefix": ("mel/images/0.png", "mel/binary_masks/0.png"),
}


@pytest.mark.parametrize("names", OF_MASKS.values(), ids=OF_MASKS)
def test_folders_whose_files_are_named_like_the_images_are_masks(names: tuple[str, ...], tmp_path: Path) -> None:
    twice = [*names, *(name.replace("mel", "nv") for name in names)]
    source = Folder(write_files(tmp_path, dict.fromkeys(twice, "")))
    assert sorted(record.image_id for record in source.records()) == ["mel/images/0", "nv/images/0"]
    assert set(source.left_out().values()) == {"mask"}


def test_classes_with_and_without_a_mask_are_classes(tmp_path: Path) -> None:
    source = Folder(write_files(tmp_path, empty_images("", names=("with_mask/0.jpg", "without_mask/0.jpg"))))
    assert source.class_names == ("with_mask", "without_mask")


def test_folders_that_repeat_below_the_classes_may_be_the_classes(tmp_path: Path) -> None:
    names = [f"{patient}/{label}/{patient}_{label}.png" for patient in (10253, 10254, 10255) for label in (0, 1)]
    folder = write_files(tmp_path, dict.fromkeys(names, ""))
    words = "2 folders (0, 1) repeated below several of the 3 folders that would be classes (10253, 10254, 10255)"
    refused(DATA, lambda: Folder(folder).records(), words, "Write metadata.csv")


def test_folders_below_the_classes_are_a_warning(tmp_path: Path) -> None:
    names = ("lung/aca/0.png", "lung/scc/1.png", "colon/n/2.png", "colon/images/part_1/3.png")
    source = Folder(write_files(tmp_path, dict.fromkeys(names, "")))
    assert {record.class_name for record in source.records()} == {"colon", "lung"}
    (warning,) = source.leaks()
    assert warning.startswith("3 folders (aca, n, scc) below the class folders: each counts as part of its class")
    assert any(note.startswith(warning) for note in source.notes())


def test_a_table_beside_class_folders_is_a_warning(tmp_path: Path) -> None:
    names = {"Base11/0.tif": "", "Base12/1.tif": "", "Annotation.xls": "", "README.md": ""}
    (warning,) = Folder(write_files(tmp_path, names)).leaks()
    assert warning == "1 table (Annotation.xls) not read: the labels are the names of the folders."


def test_a_single_class_beside_a_table_is_refused(tmp_path: Path) -> None:
    names = {"ISIC2018_Task3_Training/0.jpg": "", "ISIC2018_Task3_Training/1.jpg": "", "truth.csv": "image,MEL\n0,1"}
    folder = write_files(tmp_path, names)
    refused(DATA, lambda: Folder(folder).records(), "1 class (ISIC2018_Task3_Training) beside 1 table (truth.csv)")


@pytest.mark.parametrize("second", ["same bytes", "other data"])
def test_a_copy_is_told_by_its_bytes(second: str, tmp_path: Path) -> None:
    """Bitmaps of one size have files of one size, whatever they show."""
    names = {"mel/0.bmp": "same bytes", "nv/1.bmp": "same bytes", "all/mel/0.bmp": second, "all/nv/1.bmp": second}
    source = Folder(write_files(tmp_path, names))
    if second == "same bytes":
        assert {record.image_id for record in source.records()} == {"mel/0", "nv/1"}
        assert set(source.left_out().values()) == {COPY}
    else:
        words = "2 classes (mel, nv) also a folder below another class; move the images into one folder"
        refused(DATA, source.records, words)


def test_a_file_that_a_table_names_without_its_folder_is_found_for_the_advice(tmp_path: Path) -> None:
    table = "file_name,label\n025b,0\n0cbf,1\n"
    folder = write_files(tmp_path, {"train_images/025b.png": "", "train_images/0cbf.png": "", "metadata.csv": table})
    refused(DATA, lambda: Folder(folder).records(), "not found", "025b may be train_images/025b.png")


def test_a_table_with_semicolons_is_told(tmp_path: Path) -> None:
    folder = write_files(tmp_path, {"0.png": "", "metadata.csv": "\ufefffile_name;label\n0.png;mel\n"})
    refused(DATA, lambda: Folder(folder).records(), "separated by ';'", "Save it with commas")


def test_an_archive_is_no_table(tmp_path: Path) -> None:
    assert Folder(write_files(tmp_path, {**empty_images(""), "images.tar.gz": ""})).leaks() == {}
