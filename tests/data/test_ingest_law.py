"""The law of ingest: every file below ``data.root`` is a row's, is read as a table, or is left out for a reason."""

import contextlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.layouts import (
    empty_images,
    write_chestxray14,
    write_colonoscopy,
    write_files,
    write_isic2019,
)
from vapray.data.dataset import open_source
from vapray.data.folder import Folder
from vapray.data.inventory import Inventory, describe_identical, identical_images, take_inventory
from vapray.data.parquet_images import file_of
from vapray.data.phantom.layout import write_isic2018
from vapray.data.records import ImageSource
from vapray.errors import DataError

TOP = ("mel/", "nv/", "train/mel/", "train/nv/", "Test/mel/", "test/nv/", "archive/mel/", "images/", "")
INNER = ("", "patient 1/", "masks/", ".cache/", "__MACOSX/", "thumbs/", "train/", "mel/")
FILES = ("0.jpg", "1.PNG", "0_mask.png", "._0.jpg", "2.heic", "notes.txt", "LICENSE", "images.zip")
TABLES = {
    "metadata.csv": "file_name,label\np.jpg,a\nq.PNG,b\n",
    "HAM10000_metadata.csv": "image_id,dx,lesion_id\np,a,x\nq,b,y\n",
}
JUNK = (
    ".DS_Store",
    "Thumbs.db",
    "__MACOSX/x.jpg",
    "notes/a.txt",
    "masks/0.png",
    ".git/config",
    "x.csv",
    "@eaDir/0.jpg",
)
PLACES = ("", "mel/", "mel/deeper/", "nv/")


@st.composite
def trees(draw: st.DrawFn) -> dict[str, str]:
    """Files of a few neighbouring folders, and in some trees a table with the images that it names."""
    tops = draw(st.lists(st.sampled_from(TOP), min_size=1, max_size=4, unique=True))
    names = st.builds(
        lambda *parts: "".join(parts), st.sampled_from(tops), st.sampled_from(INNER), st.sampled_from(FILES)
    )
    files = dict.fromkeys([*(f"{top}0.jpg" for top in tops), *draw(st.sets(names, max_size=6))], "")
    if draw(st.integers(0, 3)) == 0:
        top, table = draw(st.sampled_from(tops)), draw(st.sampled_from(sorted(TABLES)))
        files |= {f"{top}p.jpg": "", f"{top}q.PNG": "", f"{top}{table}": TABLES[table]}
    return files


def account(source: ImageSource) -> Inventory:
    """The inventory, which is held against a walk of the operating system."""
    records = source.records()
    found = take_inventory(source, records)
    there = [os.path.join(folder, name) for folder, _, names in os.walk(source.root) for name in names]
    used = {file_of(record.path) for record in records}
    assert used <= set(there)
    assert found.files == len(used)
    assert found.files + found.tables + sum(one.files for one in found.left_out) == len(there)
    assert {name: dict(counts) for name, counts in found.classes.items() if counts} == {
        name: Counter(one.split for one in records if one.class_name == name)
        for name in {r.class_name for r in records}
    }
    assert all(one.reason and one.files and (source.root / one.first).exists() for one in found.left_out)
    assert len({one.reason for one in found.left_out}) == len(found.left_out)
    stored = Inventory.from_dict(json.loads(json.dumps(found.to_dict(), sort_keys=True)))
    assert stored == found and list(stored.classes) == list(source.class_names)
    return found


@given(trees())
@settings(max_examples=200, deadline=None)
def test_any_tree_is_accounted_for_or_refused(files: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(DataError):
        account(Folder(write_files(Path(folder), files)))


@given(
    splits=st.sampled_from(
        [("",), ("Train/", "Test/"), ("a/b/training/", "a/b/testing/"), ("train/", "val/", "test/")]
    ),
    junk=st.sets(st.builds(str.__add__, st.sampled_from(PLACES), st.sampled_from(JUNK)), max_size=6),
)
@settings(max_examples=50, deadline=None)
def test_files_that_are_no_images_change_nothing_but_the_inventory(splits: tuple[str, ...], junk: set[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = write_files(Path(folder), empty_images(*splits))
        before, source = Folder(root).records(), Folder(root)
        assert account(source).left_out == []
        signature = source.signature()
        write_files(root, {f"{splits[0]}{name}": "" for name in junk})
        assert Folder(root).records() == before
        assert Folder(root).signature() == signature
        assert sum(one.files for one in account(Folder(root)).left_out) == len(junk)


def _isic2018(root: Path) -> Path:
    write_isic2018(root, modality="dermoscopy", n_images=12, image_width=16, image_height=16)
    return root


OFFICIAL: dict[str, Callable[[Path], Path]] = {
    "isic2018": _isic2018,
    "isic2019": lambda root: write_isic2019(root, ["a", "b", "nan"], ["MEL", "NV", "NV"]),
    "chestxray14": lambda root: write_chestxray14(
        root, [["Mass", "Mass|Nodule"], ["No Finding"], ["Mass"], ["Nodule"], ["Mass"]], tested=2
    ),
    "colonoscopy": write_colonoscopy,
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_official_datasets_are_accounted_for(name: str, tmp_path: Path) -> None:
    root = OFFICIAL[name](tmp_path / "data")
    before = {one.reason: one.files for one in account(open_source(name, root)).left_out}
    write_files(root, {".DS_Store": "", "LICENSE.txt": "", "other/x.jpg": "", "other/y.nii": ""})
    after = {one.reason: one.files for one in account(open_source(name, root)).left_out}
    more = {"hidden", "table or document that is not read", "image that no table names", "unsupported suffix .nii"}
    assert Counter(after) - Counter(before) == dict.fromkeys(more, 1)


def test_links_are_accounted_for(tmp_path: Path) -> None:
    root = write_files(tmp_path / "data", empty_images(""))
    (root / "mel" / "gone.jpg").symlink_to(root / "nowhere.jpg")
    (root / "mel" / "above").symlink_to(root)
    (root / "mel" / "again.jpg").symlink_to(root / "nv" / "0.jpg")
    os.mkfifo(root / "mel" / "pipe.jpg")
    source = Folder(root)
    found = take_inventory(source, source.records())
    assert {one.reason: one.first for one in found.left_out} == {
        "broken link": "mel/gone.jpg",
        "link to a folder of the dataset": "mel/above",
        "neither file nor folder": "mel/pipe.jpg",
    }
    assert found.files == 5


TABLE = {"sha256": list("aabbccd"), "split": ["train"] * 3 + ["test"] * 4, "class": ["x"] * 4 + ["y", "x", "x"]}


def test_images_of_equal_bytes_are_counted_across_splits_and_classes() -> None:
    found = identical_images(pa.table(TABLE))
    assert found == {"images": 3, "across_splits": 2, "across_classes": 2}
    assert [line.partition(" images ")[0] for line in describe_identical(found)] == ["3", "2", "2"]
    assert describe_identical(identical_images(pa.table(TABLE).slice(6))) == []
    assert identical_images(pa.table(TABLE).slice(6)) == {"images": 0, "across_splits": 0, "across_classes": 0}
    assert set(identical_images(pa.table(TABLE).slice(0, 0)).values()) == {0}


WARNINGS = {
    "one group": ("0.jpg,a,p\n1.jpg,b,p\n", "1 group (p) holds all 2 images: nothing can be held out."),
    "a class in one group": (
        "0.jpg,a,p\n1.jpg,a,p\n2.jpg,b,q\n3.jpg,b,r\n",
        "All images of 1 class (a) are in one group: nothing of it can be held out.",
    ),
    "no class with two patients": (
        "0.jpg,a,p\n1.jpg,a,p\n2.jpg,b,q\n3.jpg,b,q\n",
        "All images of 2 classes (a, b) are in one group: nothing of it can be held out.",
    ),
    "large groups": (
        "0.jpg,a,p\n1.jpg,a,q\n2.jpg,b,q\n3.jpg,b,p\n",
        "All 4 images are in split train: nothing is held out.",
    ),
    "a small class": (
        "".join(f"{number}.jpg,a,\n" for number in range(20)) + "20.jpg,b,\n",
        "1 class (b: 1) with fewer images than the 3 splits.",
    ),
    "classes alike": (
        "".join(f"{number}.jpg,{'Bb'[number % 2]}asal {'cC'[number % 2]}ell,\n" for number in range(40)),
        "1 pair (Basal cell and basal Cell) of classes that differ in case only.",
    ),
}


@pytest.mark.parametrize(("rows", "words"), WARNINGS.values(), ids=WARNINGS)
def test_what_makes_a_split_meaningless_is_a_warning(rows: str, words: str, tmp_path: Path) -> None:
    names = {row.partition(",")[0]: "" for row in rows.splitlines()}
    source = Folder(write_files(tmp_path, {**names, "metadata.csv": f"file_name,label,group\n{rows}"}))
    assert list(account(source).warnings) == [words]


HELD_OUT_ONLY = [("0", "train"), ("0", "train"), ("1", "train"), ("1", "train"), ("-1", "test"), ("-1", "test")]


def test_a_class_that_is_held_out_only_is_a_warning(tmp_path: Path) -> None:
    """Such as -1, which stands for no label in the test split of a data set on a hub."""
    rows = "".join(f"{number}.jpg,{label},{split}\n" for number, (label, split) in enumerate(HELD_OUT_ONLY))
    names = {f"{number}.jpg": "" for number in range(len(HELD_OUT_ONLY))}
    source = Folder(write_files(tmp_path, {**names, "metadata.csv": f"file_name,label,split\n{rows}"}))
    assert list(account(source).warnings) == [
        "1 class (-1) without an image in split train: the model does not learn them.",
        "2 classes (0, 1) without an image in split test: their images are not compared.",
    ]
