"""Folders as people have them: each layout has one right reading, or is refused by the name of what is unclear."""

from collections import Counter
from pathlib import Path

import pytest

from tests.bad_inputs.refusal import DATA, refused
from tests.data.layouts import empty_images, write_files
from vapray.data.file_tree import COPY
from vapray.data.folder import Folder
from vapray.data.inventory import Inventory, take_inventory


def read(root: Path) -> Counter[tuple[str, str]]:
    return Counter((record.class_name, record.split) for record in Folder(root).records())


TESTED = empty_images("", names=("test_positive/0.jpg", "test_negative/1.jpg"))
SPLIT_FOLDERS = [
    ("Train", "Test"),
    ("training", "testing"),
    ("TRAIN", "dev", "Eval"),
    ("train", "valid", "evaluation"),
    ("train_images", "test_images"),
    ("1_train", "2_val"),
    ("skin cancer/Train", "skin cancer/Test"),
    ("chest_xray/train", "chest_xray/test"),
]
SPLIT_OF = {"train": "train", "dev": "validation", "valid": "validation", "val": "validation", "eval": "test"}
SPLIT_OF |= {"training": "train", "test": "test", "testing": "test", "evaluation": "test"}


def right_split(folder: str) -> str:
    words = folder.lower().rpartition("/")[2].replace("_images", "").lstrip("12_")
    return SPLIT_OF[words]


@pytest.mark.parametrize("folders", SPLIT_FOLDERS, ids=" ".join)
def test_split_folders_have_the_names_of_hugging_face(folders: tuple[str, ...], tmp_path: Path) -> None:
    root = write_files(tmp_path, empty_images(*(f"{folder}/" for folder in folders)))
    wanted = {(name, right_split(folder)): 2 for folder in folders for name in ("mel", "nv")}
    assert read(root) == wanted


def test_one_split_in_the_names_of_all_folders_is_none(tmp_path: Path) -> None:
    names = {record.class_name for record in Folder(write_files(tmp_path, TESTED)).records()}
    assert names == {"test_positive", "test_negative"}


@pytest.mark.parametrize("wrapper", ["data/", "Skin cancer ISIC/images of it/", "train/", "train/train/"])
def test_a_folder_that_only_contains_the_classes_is_none(wrapper: str, tmp_path: Path) -> None:
    source = Folder(write_files(tmp_path, empty_images(wrapper)), validation_share=0, test_share=0)
    assert Counter(record.class_name for record in source.records()) == {"mel": 2, "nv": 2}
    assert len(source.notes()) == 1


LEFT_OUT = {
    "macOS": ("__MACOSX/mel/._0.jpg", "file of the operating system"),
    "macOS beside": ("mel/._0.jpg", "hidden"),
    "notebook": ("mel/.ipynb_checkpoints/0-checkpoint.jpg", "hidden"),
    "git": (".git/index", "hidden"),
    "Windows": ("mel/Thumbs.db", "file of the operating system"),
    "NAS": ("mel/@eaDir/0.jpg/SYNOPHOTO_THUMB.jpg", "file of the operating system"),
    "thumbnails": ("thumbnails/0.jpg", "thumbnail"),
    "masks of all": ("masks/0.png", "mask"),
    "masks of a class": ("mel/Masks/0.png", "mask"),
    "masks of an image": ("mel/0_mask.png", "mask"),
    "several masks": ("mel/0_mask_1.png", "mask"),
    "superpixels": ("mel/0_superpixels.png", "mask"),
    "loose image": ("cover.png", "image outside of a class folder"),
    "table": ("HMNIST.csv", "table or document that is not read"),
    "document": ("README.md", "table or document that is not read"),
    "archive": ("mel/images.zip", "unsupported suffix .zip"),
    "photo of a phone": ("mel/9.HEIC", "unsupported suffix .heic"),
    "no suffix": ("mel/LICENSE", "file without a suffix"),
}


@pytest.mark.parametrize(("extra", "reason"), LEFT_OUT.values(), ids=LEFT_OUT)
@pytest.mark.parametrize("splits", [("",), ("train/", "test/")], ids=["classes", "splits"])
def test_other_files_are_no_images_and_have_a_reason(
    extra: str, reason: str, splits: tuple[str, ...], tmp_path: Path
) -> None:
    plain, more = write_files(tmp_path / "a", empty_images(*splits)), write_files(tmp_path / "b", empty_images(*splits))
    write_files(more, {f"{splits[0] if extra.startswith('mel/') else ''}{extra}": ""})
    assert [(r.image_id, r.split) for r in Folder(more).records()] == [
        (r.image_id, r.split) for r in Folder(plain).records()
    ]
    (found,) = inventory_of(more).left_out
    assert (found.reason, found.files) == (reason, 1)


def inventory_of(root: Path) -> Inventory:
    source = Folder(root)
    return take_inventory(source, source.records())


def test_a_nested_copy_of_the_dataset_is_left_out(tmp_path: Path) -> None:
    root = write_files(tmp_path, empty_images("train/", "test/", "chest_xray/train/", "chest_xray/test/"))
    assert read(root) == {(name, split): 2 for name in ("mel", "nv") for split in ("train", "test")}
    (found,) = inventory_of(root).left_out
    assert (found.reason, found.files) == (COPY, 8)
    write_files(root, {"chest_xray/test/nv/1.jpg": "another image of this name"})
    refused(DATA, lambda: Folder(root).records(), "1 folder (chest_xray) beside the splits test, train")


UNCLEAR = {
    "a folder beside splits": (
        empty_images("train/", "test/", "extra/"),
        "1 folder (extra) beside the splits test, train",
    ),
    "a class like a split": (
        empty_images("", names=("mel/0.jpg", "Test/0.jpg")),
        "1 folder (mel) beside the splits Test",
    ),
    "a class of a split like a split": (
        empty_images("train/", "val/", names=("test/0.jpg", "mel/0.jpg")),
        "1 class (test) named like a split",
    ),
    "splits below classes": (
        empty_images("", names=("mel/train/0.jpg", "mel/test/1.jpg", "nv/train/0.jpg")),
        "split folders (mel/test, mel/train, nv/train) inside of a class",
    ),
    "parts": (
        empty_images("", names=("images_part_1/0.jpg", "Images_Part_2/1.jpg")),
        "2 folders (Images_Part_2, images_p",
    ),
    "images and masks": (
        {**empty_images("", names=("images/0.jpg", "masks/0.png")), "train.csv": "id,label\n0,a\n"},
        "1 folder (images) naming no class (1 table (train.csv) not read); write metadata.csv",
    ),
    "loose images": (
        {"0.jpg": "", "1.jpg": ""},
        "2 images (0.jpg, 1.jpg) outside of class folders. Fix: write metadata.csv",
    ),
    "classes that differ in blanks": (
        empty_images("", names=("basal cell/0.jpg", "basal  cell/1.jpg")),
        "1 pair ('basal  cell' and 'basal cell') of classes that differ in blanks only",
    ),
    "a class of unsupported files": (
        empty_images("", names=("mel/0.jpg", "nv/0.heic", "nv/1.heic")),
        "folder nv: no supported image, only .heic; convert them",
    ),
    "two files of an id": (
        empty_images("", names=("mel/0.jpg", "mel/0.png", "nv/0.jpg")),
        "1 id (mel/0: mel/0.jpg and mel/0.png) of several files; keep one file of each",
    ),
}


@pytest.mark.parametrize(("files", "words"), UNCLEAR.values(), ids=UNCLEAR)
def test_what_has_no_clear_meaning_is_refused(files: dict[str, str], words: str, tmp_path: Path) -> None:
    refused(DATA, lambda: Folder(write_files(tmp_path, files)).records(), words)


def test_ham10000_as_kaggle_has_it(tmp_path: Path) -> None:
    names = [f"ISIC_{number}" for number in range(6)]
    files = {f"HAM10000_images_part_{1 + number % 2}/{name}.jpg": "" for number, name in enumerate(names)}
    rows = "".join(f"HAM_{number // 2},{name},{'mel' if number < 2 else 'nv'}\n" for number, name in enumerate(names))
    root = write_files(
        tmp_path, files | {"HAM10000_metadata.csv": f"lesion_id,image_id,dx\n{rows}", "hmnist_28_28_L.csv": ""}
    )
    records = Folder(root).records()
    assert {(Path(r.path).stem, r.class_name, r.group) for r in records} == {
        (name, "mel" if number < 2 else "nv", f"HAM_{number // 2}") for number, name in enumerate(names)
    }
    write_files(root, {"ham10000_images_part_1/ISIC_0.jpg": ""})
    assert Folder(root).records() == records
    assert {one.reason: one.first for one in inventory_of(root).left_out}[COPY] == "ham10000_images_part_1/ISIC_0.jpg"
    write_files(root, {"ham10000_images_part_1/ISIC_0.jpg": "another image"})
    refused(DATA, lambda: Folder(root).records(), "1 id (ISIC_0: HAM10000_images_part_1/ISIC_0.jpg and ham10000_images")


KEPT = {
    "classes": empty_images(""),
    "splits": empty_images("train/", "val/", "test/"),
    "columns": {**empty_images(""), "metadata.csv": "file_name,label,age\nmel/0.jpg,a,3\n"},
}
REDONE = {
    "capitals": empty_images("Train/", "Test/"),
    "other names": empty_images("training/", "testing/"),
    "a wrapper": empty_images("data/"),
    "one split": empty_images("train/"),
    "split folders of a table": {
        **empty_images("train/", "test/"),
        "metadata.csv": "file_name,label\ntrain/mel/0.jpg,a\ntest/mel/0.jpg,a\n",
    },
}


@pytest.mark.parametrize("files", KEPT.values(), ids=KEPT)
def test_a_dataset_that_needs_no_convention_has_the_signature_of_earlier_versions(
    files: dict[str, str], tmp_path: Path
) -> None:
    assert len(Folder(write_files(tmp_path, files)).signature()) == 64


@pytest.mark.parametrize("files", REDONE.values(), ids=REDONE)
def test_a_convention_is_told_and_part_of_the_signature(files: dict[str, str], tmp_path: Path) -> None:
    """A run that read the folder before the convention was known is redone."""
    source = Folder(write_files(tmp_path, files))
    assert len(source.signature()) == 129
    assert len(source.notes()) == 1
