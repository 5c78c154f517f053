"""The ISIC 2018 layout: what is read, and what each broken folder is told."""

import gzip
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from vapray.data.decode import center_crop_resize
from vapray.data.decode import decode as decode_picture
from vapray.data.isic2018 import Isic2018
from vapray.data.phantom.layout import write_isic2018
from vapray.data.splits import crossing_groups
from vapray.errors import DataError

from .derm import CLASSES, present_as_isic2018

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data"
TRAINING = "ISIC2018_Task3_Training_GroundTruth"
INPUT = "ISIC2018_Task3_Training_Input"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("layout") / "drawn"
    return write_isic2018(root, modality="dermoscopy", n_images=40, image_width=32, image_height=24, seed=1).root


@pytest.fixture
def root(drawn: Path, tmp_path: Path) -> Path:
    return shutil.copytree(drawn, tmp_path / "copy")


def table_of(root: Path) -> Path:
    return root / TRAINING / f"{TRAINING}.csv"


def edit(path: Path, old: str, new: str, count: int = -1) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def first_line(root: Path) -> str:
    return table_of(root).read_text().splitlines()[1]


def test_tables_may_lie_under_root_and_be_gzipped(root: Path) -> None:
    expected = Isic2018(root).records()
    moved = root / f"{TRAINING}.csv.gz"
    moved.write_bytes(gzip.compress(table_of(root).read_bytes()))
    shutil.rmtree(root / TRAINING)
    assert Isic2018(root).records() == expected


def test_a_byte_order_mark_windows_lines_and_whole_numbers_are_read(root: Path) -> None:
    expected = Isic2018(root).records()
    text = table_of(root).read_text().replace("1.0", "1").replace("0.0", "0")
    table_of(root).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert Isic2018(root).records() == expected


def test_without_groupings_every_picture_is_its_own_group(root: Path) -> None:
    (root / "ISIC2018_Task3_Training_LesionGroupings.csv").unlink()
    records = Isic2018(root).records()
    assert len(records) == 40 and all(record.group == record.image_id for record in records)


def test_missing_parts_are_split_off_by_lesion_on_request(root: Path) -> None:
    for part in ("Validation", "Test"):
        for kind in ("Input", "GroundTruth"):
            shutil.rmtree(root / f"ISIC2018_Task3_{part}_{kind}")
    assert {record.split for record in Isic2018(root).records()} == {"train"}
    records = Isic2018(root, validation_share=0.2, test_share=0.3, seed=1).records()
    assert not list(crossing_groups((record.group, record.split) for record in records))
    assert len(records) == 28 and {record.split for record in records} == {"train", "validation", "test"}


def test_official_parts_are_never_resplit(root: Path) -> None:
    assert Isic2018(root, validation_share=0.3, test_share=0.3).records() == Isic2018(root).records()


def test_the_signature_changes_with_pictures_and_tables_only(root: Path) -> None:
    before = Isic2018(root).signature()
    (root / "README.txt").write_text("read me")
    assert Isic2018(root).signature() == before
    picture = next((root / INPUT).iterdir())
    stamp = picture.stat().st_mtime_ns
    os.utime(picture, ns=(stamp + 1, stamp + 1))
    touched = Isic2018(root).signature()
    os.utime(picture, ns=(stamp, stamp))
    assert touched != before == Isic2018(root).signature()
    edit(root / "ISIC2018_Task3_Training_LesionGroupings.csv", "phantom", "histo", 1)
    assert Isic2018(root).signature() != before


def test_missing_pictures_are_counted_and_the_first_five_named(root: Path) -> None:
    gone = sorted((root / INPUT).iterdir())[:7]
    for path in gone:
        path.unlink()
    with pytest.raises(DataError, match=rf"{TRAINING}\.csv: 7 images") as caught:
        Isic2018(root).records()
    assert gone[4].stem in str(caught.value) and gone[5].stem not in str(caught.value)


def empty_input(root: Path) -> None:
    shutil.rmtree(root / INPUT)
    (root / INPUT).mkdir()


def put_lesion_in_test(root: Path) -> None:
    groupings = root / "ISIC2018_Task3_Training_LesionGroupings.csv"
    truth = root / "ISIC2018_Task3_Test_GroundTruth" / "ISIC2018_Task3_Test_GroundTruth.csv"
    lesion = groupings.read_text().splitlines()[1].split(",")[1]
    image = truth.read_text().splitlines()[1].split(",")[0]
    groupings.write_text(f"{groupings.read_text()}{image},{lesion},phantom\n")


def repeat_in_test(root: Path) -> None:
    name = first_line(root).split(",")[0]
    shutil.copy(root / INPUT / f"{name}.jpg", root / "ISIC2018_Task3_Test_Input")
    truth = root / "ISIC2018_Task3_Test_GroundTruth" / "ISIC2018_Task3_Test_GroundTruth.csv"
    truth.write_text(truth.read_text() + first_line(root) + "\n")


BROKEN = {
    "no table": (lambda root: shutil.rmtree(root / TRAINING), "no ISIC2018_Task3_Training_GroundTruth"),
    "no pictures' folder": (lambda root: shutil.rmtree(root / INPUT), "no such folder"),
    "no pictures": (empty_input, "28 images .* not in ISIC2018_Task3_Training_Input as .jpg .jpeg .png"),
    "empty table": (lambda root: table_of(root).write_text(""), "no rows"),
    "header only": (lambda root: table_of(root).write_text("image,MEL,NV\n"), "no rows"),
    "no id column": (lambda root: edit(table_of(root), "image,", "picture,"), "no column image"),
    "no class column": (lambda root: table_of(root).write_text("image\nX\n"), "no class columns"),
    "two classes": (lambda root: edit(table_of(root), ",0.0", ",1.0", 1), "1 row .* not one-hot"),
    "no class": (lambda root: edit(table_of(root), ",1.0", ",0.0"), "28 rows .* not one-hot"),
    "words": (lambda root: edit(table_of(root), ",0.0", ",yes", 1), "not one-hot"),
    "half sure": (lambda root: edit(table_of(root), ",1.0", ",0.5", 1), "not one-hot"),
    "short row": (lambda root: table_of(root).write_text(table_of(root).read_text() + "X,1.0\n"), "1 row"),
    "duplicate": (
        lambda root: table_of(root).write_text(table_of(root).read_text() + first_line(root)),
        "1 duplicate id",
    ),
    "in two parts": (repeat_in_test, "1 duplicate id"),
    "other classes": (
        lambda root: edit(root / "ISIC2018_Task3_Test_GroundTruth/ISIC2018_Task3_Test_GroundTruth.csv", "MEL", "SCC"),
        "SCC, NV, BCC, BKL, VASC are not",
    ),
    "not UTF-8": (lambda root: table_of(root).write_bytes(b"image,M\xe9lanome\nX,1.0\n"), "not UTF-8"),
    "lesion on two sides": (put_lesion_in_test, "1 group .*test and train"),
}


@pytest.mark.parametrize(("damage", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_folder_is_an_error_that_says_where_and_what(damage, message: str, root: Path) -> None:  # type: ignore[no-untyped-def]
    damage(root)
    with pytest.raises(DataError, match=message) as caught:
        Isic2018(root).records()
    assert str(root) in str(caught.value) or "lesion" in str(caught.value)


def test_a_damaged_gzip_is_named(root: Path) -> None:
    whole = gzip.compress(table_of(root).read_bytes())
    shutil.rmtree(root / TRAINING)
    (root / f"{TRAINING}.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read"):
        Isic2018(root).records()


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        Isic2018(tmp_path / "nowhere")


@pytest.mark.skipif(not (REAL / "derm").is_dir(), reason="the real dermoscopic pictures are not here")
def test_real_pictures_are_read_with_their_labels_and_lesions(tmp_path: Path) -> None:
    count = present_as_isic2018(REAL / "derm", REAL / "tables", tmp_path / "real", every=40)
    source = Isic2018(tmp_path / "real", validation_share=0.1, test_share=0.2)
    records = source.records()
    assert source.class_names == CLASSES and len(records) == count == 199
    assert Counter(record.class_name for record in records)["NV"] > count / 2
    assert all(record.group.startswith("HAM_") for record in records)
    assert center_crop_resize(decode_picture(Path(records[0].path).read_bytes()), 32).shape == (32, 32, 3)
