"""ISIC 2019: lesions stay together, UNK is no class, and the overlap with ISIC 2018 is said."""

import gzip
import shutil
from pathlib import Path

import pytest

from vapray.data.isic2019 import Isic2019
from vapray.data.splits import crossing_groups
from vapray.errors import DataError

from .layouts import write_isic2019

LESIONS = [f"HAM_{number // 2:07}" for number in range(40)] + ["BCN_1", "BCN_1"] + [""] * 18
CLASSES = ["MEL" if number % 4 < 2 else "SCC" for number in range(60)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_isic2019(tmp_path / "isic2019", LESIONS, CLASSES)


def test_a_class_without_an_image_is_no_class(root: Path) -> None:
    source = Isic2019(root)
    assert source.class_names == ("MEL", "SCC")
    assert all(source.class_names[record.label] == record.class_name for record in source.records())


def test_lesions_stay_together_and_a_missing_lesion_is_one_of_its_own(root: Path) -> None:
    records = Isic2019(root, validation_share=0.1, test_share=0.2, seed=3).records()
    assert not list(crossing_groups((record.group, record.split) for record in records))
    splits = [record.split for record in records]
    assert [splits.count(split) for split in ("train", "validation", "test")] == [42, 6, 12]
    assert sum(record.group == record.image_id for record in records) == 18
    assert len({record.group for record in records}) == 20 + 1 + 18


def test_the_overlap_with_isic2018_is_counted(root: Path) -> None:
    overlap, alone = Isic2019(root).notes()
    assert overlap.startswith("40 of the 60 images are from HAM10000, the training set of ISIC 2018")
    assert alone.startswith("18 images have no lesion id")


def test_without_the_overlap_nothing_is_said_of_it(tmp_path: Path) -> None:
    assert Isic2019(write_isic2019(tmp_path, ["BCN_1", "BCN_2"], ["MEL", "NV"])).notes() == []


def test_tables_may_be_gzipped_and_in_folders_of_their_own(root: Path) -> None:
    expected = Isic2019(root).records()
    for table in list(root.glob("*.csv")):
        (root / table.stem).mkdir()
        (root / table.stem / f"{table.name}.gz").write_bytes(gzip.compress(table.read_bytes()))
        table.unlink()
    assert Isic2019(root).records() == expected


def test_the_signature_follows_the_lesions(root: Path) -> None:
    before = Isic2019(root).signature()
    assert before == Isic2019(root).signature()
    table = root / "ISIC_2019_Training_Metadata.csv"
    table.write_text(table.read_text().replace("BCN_1", "BCN_2", 1))
    assert Isic2019(root).signature() != before


def test_all_that_is_wrong_with_the_folder_is_told_at_once(root: Path) -> None:
    (root / "ISIC_2019_Training_Input" / "ISIC_0000003.jpg").unlink()
    table = root / "ISIC_2019_Training_GroundTruth.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines, lines[1], lines[2].replace("1.0", "0.5")]))
    with pytest.raises(DataError, match="3 problems") as caught:
        Isic2019(root).records()
    assert "1 image (ISIC_0000003) not in ISIC_2019_Training_Input" in str(caught.value)
    assert "2 duplicate ids (ISIC_0000000, ISIC_0000001)" in str(caught.value)
    assert "1 row (ISIC_0000001) not one-hot" in str(caught.value)


@pytest.mark.parametrize("kind", ["GroundTruth", "Metadata"])
def test_a_missing_table_is_named(root: Path, kind: str) -> None:
    (root / f"ISIC_2019_Training_{kind}.csv").unlink()
    with pytest.raises(DataError, match=rf"no ISIC_2019_Training_{kind}.csv \(or .gz\)"):
        Isic2019(root)


def test_the_folder_may_be_inside_of_itself_as_kaggle_packs_it(tmp_path: Path) -> None:
    root = write_isic2019(tmp_path, ["a", "b", "c"], ["MEL", "NV", "NV"])
    before = {(record.image_id, record.split) for record in Isic2019(root).records()}
    images = root / "ISIC_2019_Training_Input"
    shutil.copytree(images, images / images.name)
    assert {(record.image_id, record.split) for record in Isic2019(root).records()} == before
    for image in images.glob("*.jpg"):
        image.unlink()
    assert {(record.image_id, record.split) for record in Isic2019(root).records()} == before


def test_a_lesion_called_nan_is_unknown(tmp_path: Path) -> None:
    root = write_isic2019(tmp_path, ["nan", "NaN", "b"], ["MEL", "NV", "NV"])
    assert {record.group for record in Isic2019(root).records()} == {"ISIC_0000000", "ISIC_0000001", "b"}
