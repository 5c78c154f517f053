"""What the adapters make of the official tables: every count as its publishers give it."""

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from vapray.data.chestxray14 import ChestXray14
from vapray.data.decode import center_crop_resize, decode
from vapray.data.folder import Folder
from vapray.data.isic2018 import Isic2018
from vapray.data.isic2019 import Isic2019
from vapray.data.label_tables import read_rows
from vapray.data.records import ImageRecord
from vapray.data.splits import crossing_groups

from .derm import link
from .layouts import write_table
from .official import REAL, lines_of, link_tables, name_pictures, needs_pictures, needs_tables

DATA_ENTRY = "Data_Entry_2017_v2020.csv.gz"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Taken away again: 100,000 files would stay behind."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def sides(records: list[ImageRecord]) -> Counter[str]:
    return Counter(record.split for record in records)


@needs_tables
def test_isic2018(root: Path) -> None:
    for part in ("Training", "Validation", "Test"):
        table = f"ISIC2018_Task3_{part}_GroundTruth.csv"
        link_tables(root, table)
        name_pictures(table, "image", root / f"ISIC2018_Task3_{part}_Input", ".jpg")
    source = Isic2018(root, validation_share=0.1, test_share=0.2)
    assert sides(source.records()) == {"train": 10_015, "validation": 193, "test": 1_512}
    assert source.class_names == ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
    assert {(record.licence, record.source) for record in source.records()} == {("CC-BY-NC-4.0", "ISIC 2018")}


@needs_tables
def test_isic2019(root: Path) -> None:
    link_tables(root, *(f"ISIC_2019_Training_{kind}.csv.gz" for kind in ("GroundTruth", "Metadata")))
    name_pictures("ISIC_2019_Training_GroundTruth.csv.gz", "image", root / "ISIC_2019_Training_Input", ".jpg")
    source = Isic2019(root)
    records = source.records()
    assert source.class_names == ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
    assert len(records) == 25_331 and Counter(record.class_name for record in records)["NV"] == 12_875
    assert not list(crossing_groups((record.group, record.split) for record in records))
    assert abs(sides(records)["test"] / len(records) - 0.2) < 0.001
    ham = {row["image_id"] for row in read_rows(REAL / "tables" / "HAM10000_metadata.csv")}
    assert {record.image_id for record in records if record.group.startswith("HAM_")} == ham and len(ham) == 10_015
    assert sum(not record.subject for record in records) == 2_084
    assert all(record.metadata.keys() == {"age_approx", "anatom_site_general", "sex"} for record in records)
    overlap, alone = source.notes()
    assert overlap.startswith("10,015 of the 25,331 images") and alone.startswith("2,084 images have no lesion id")


@pytest.mark.slow
@needs_tables
def test_chestxray14(root: Path) -> None:
    assert (len(lines_of("train_val_list.txt.gz")), len(lines_of("test_list.txt.gz"))) == (86_524, 25_596)
    link_tables(root, DATA_ENTRY, "train_val_list.txt.gz", "test_list.txt.gz")
    name_pictures(DATA_ENTRY, "Image Index", root / "images")
    source = ChestXray14(root, no_finding=True)
    assert len(source.class_names) == 15
    records = source.records()
    found = [record for record in records if record.class_name != "No Finding"]
    assert (len(found), len(records) - len(found)) == (30_963, 60_361)
    tested = {name.removesuffix(".png") for name in lines_of("test_list.txt.gz")}
    assert {record.image_id for record in records if record.split == "test"} == tested & {r.image_id for r in records}
    assert source.notes()[0].startswith("Of 112,120 images 30,963 show one finding and are kept, 20,796 show several")


@needs_tables
@needs_pictures("cxr")
def test_real_radiographs_under_their_official_names(tmp_path: Path) -> None:
    there = {
        Path(row["image_id"]).stem: row for row in read_rows(REAL / "cxr" / "labels.csv") if row["nih_finding_labels"]
    }
    rows = [row for row in read_rows(REAL / "tables" / DATA_ENTRY) if row["Image Index"].removesuffix(".png") in there]
    write_table(tmp_path / "Data_Entry_2017_v2020.csv", list(rows[0]), [list(row.values()) for row in rows])
    names = {row["Image Index"] for row in rows}
    for name in ("train_val_list", "test_list"):
        listed = [line for line in lines_of(f"{name}.txt.gz") if line in names]
        (tmp_path / f"{name}.txt").write_text("\n".join(listed))
    (tmp_path / "images").mkdir()
    for name in names:
        file = REAL / "cxr" / there[name.removesuffix(".png")]["file"]
        (tmp_path / "images" / name).with_suffix(file.suffix).symlink_to(file)
    records = ChestXray14(tmp_path, no_finding=True).records()
    single = [row for row in there.values() if "|" not in row["nih_finding_labels"]]
    assert len(names) == len(there) == 1000 and len(records) == len(single) > 100
    assert all(there[record.image_id]["nih_finding_labels"] == record.class_name for record in records)
    assert all((there[r.image_id]["nih_official_split"] == "test") == (r.split == "test") for r in records)
    assert center_crop_resize(decode(Path(records[0].path).read_bytes()), 32).shape == (32, 32, 3)


@needs_pictures("colon")
def test_real_colonoscopy_as_a_folder_with_a_table(tmp_path: Path) -> None:
    rows = [row for row in read_rows(REAL / "colon" / "labels.csv") if row["source"] == "BKAI-IGH NeoPolyp-Small"]
    (tmp_path / "images").mkdir()
    for row in rows:
        link(REAL / "colon" / row["file"], tmp_path / row["file"])
    write_table(tmp_path / "metadata.csv", ["file_name", "label"], [[row["file"], row["label"]] for row in rows])
    records = Folder(tmp_path).records()
    assert Counter(record.class_name for record in records) == {"neoplastic": 694, "non_neoplastic": 257, "mixed": 49}
    assert center_crop_resize(decode(Path(records[0].path).read_bytes()), 32).shape == (32, 32, 3)


@needs_tables
def test_ham10000_has_7470_lesions_with_age_sex_and_localization(root: Path) -> None:
    link_tables(root, "HAM10000_metadata.csv")
    name_pictures("HAM10000_metadata.csv", "image_id", root / "images", ".jpg")
    records = Folder(root).records()
    assert len(records) == 10_015 and len({record.subject for record in records}) == 7_470
    assert {(record.licence, record.source) for record in records} == {("CC-BY-NC-4.0", "HAM10000")}
    (known,) = (record for record in records if record.image_id.endswith("ISIC_0027419"))
    assert known.metadata == {"dx_type": "histo", "age": "80.0", "sex": "male", "localization": "scalp"}
    assert sum(not record.metadata["age"] for record in records) == 57
