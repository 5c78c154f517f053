"""Licence, source, subject and metadata of images: what the adapters state, what the settings change, the counts."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bad_inputs.refusal import DATA, refused
from tests.data.layouts import write_chestxray14, write_colonoscopy, write_files, write_isic2019
from vapray.config import Data
from vapray.config.loader import load_config
from vapray.data.chestxray14 import ChestXray14
from vapray.data.colonoscopy.union import Colonoscopy
from vapray.data.dataset import dataset_content_hash, phantom_root
from vapray.data.folder import Folder
from vapray.data.isic2018 import Isic2018
from vapray.data.isic2019 import Isic2019
from vapray.data.origins import OriginSummary, apply_settings, metadata_cell, pseudonym, subject_spellings
from vapray.data.phantom.layout import write_isic2018
from vapray.data.records import SPLITS, ImageRecord

NIH = "NIH Clinical Center: free use with credit"
ORIGINS = st.tuples(*map(st.sampled_from, (SPLITS, ("", "CC0-1.0", "CC-BY-4.0"), ("", "x", "y"), ("", "p", "q", "r"))))


def a_record(**fields: object) -> ImageRecord:
    return ImageRecord(
        **{"image_id": "a", "class_name": "c", "label": 0, "split": "train", "group": "a", "path": "/a"} | fields
    )


@given(st.lists(ORIGINS))
def test_every_training_image_is_counted_once(rows: list[tuple[str, ...]]) -> None:
    names = ("split", "licence", "source", "subject")
    table = pa.Table.from_pylist(
        [dict(zip(names, row, strict=True)) for row in rows], schema=pa.schema(dict.fromkeys(names, pa.string()))
    )
    found = OriginSummary.of_table(table)
    train = [row for row in rows if row[0] == "train"]
    assert found.licences == Counter(row[1] for row in train)
    assert found.sources == Counter(row[2] for row in train)
    assert found.subjects == len({row[3] for row in train if row[3]})
    assert found.has_unknown_licence == (not train or any(not row[1] for row in train))
    assert OriginSummary.from_record(found.to_record()) == found


@pytest.mark.parametrize(
    ("licences", "names", "line"),
    [
        ({}, "unknown", "unknown"),
        ({"": 2}, "unknown", "unknown (2)"),
        ({"": 2, "MIT": 1, "CC0-1.0": 3000}, "CC0-1.0, MIT, unknown", "CC0-1.0 (3,000), MIT (1), unknown (2)"),
    ],
)
def test_unknown_licences_are_named_last(licences: dict[str, int], names: str, line: str) -> None:
    found = OriginSummary(licences)
    assert found.licence_names == names and found.text_chunks["Training-Licences"] == names
    assert next(found.lines()) == f"licences of the training images: {line}"


def test_phantoms_are_free_and_their_lesions_are_the_subjects(tmp_path: Path) -> None:
    write_isic2018(tmp_path / "x", modality="dermoscopy", n_images=20, image_width=32, image_height=32)
    records = Isic2018(tmp_path / "x").records()
    assert {(record.licence, record.source) for record in records} == {("CC0-1.0", "vapray phantoms")}
    assert all(record.subject == record.group for record in records if record.split == "train")
    assert all(record.subject == "" for record in records if record.split != "train")


def test_isic2018_and_other_images_in_its_layout(tmp_path: Path) -> None:
    header = "image,MEL,NV\n"
    rows = ("ISIC_0024306,1.0,0.0\n", "mine_1,0.0,1.0\n")
    table = "ISIC2018_Task3_Training_GroundTruth.csv"
    files = {f"ISIC2018_Task3_Training_Input/{row.partition(',')[0]}.jpg": "" for row in rows}
    records = Isic2018(write_files(tmp_path, files | {table: header + "".join(rows)})).records()
    assert [(record.licence, record.source, record.subject) for record in records] == [
        ("CC-BY-NC-4.0", "ISIC 2018", ""),
        ("", "", ""),
    ]


def test_isic2019_has_lesions_and_metadata(tmp_path: Path) -> None:
    records = Isic2019(write_isic2019(tmp_path, ["HAM_1", "nan", ""], ["MEL", "NV", "NV"]), test_share=0).records()
    assert {(record.licence, record.source) for record in records} == {("CC-BY-NC-4.0", "ISIC 2019")}
    assert {record.image_id[-1]: record.subject for record in records} == {"0": "HAM_1", "1": "", "2": ""}
    assert records[0].metadata == {"age_approx": "55", "anatom_site_general": "", "sex": ""}


@pytest.mark.parametrize(("first_release", "age"), [(False, "60"), (True, "060Y")])
def test_chestxray14_has_patients_and_metadata(first_release: bool, age: str, tmp_path: Path) -> None:
    findings = [["Mass"], ["Hernia"]]
    records = ChestXray14(write_chestxray14(tmp_path, findings, 1, first_release=first_release)).records()
    assert {(record.licence, record.source) for record in records} == {(NIH, "ChestX-ray14")}
    assert [record.subject for record in records] == ["1", "2"]
    wanted = {"Patient Age": age, "Patient Gender": "M", "View Position": "PA"}
    assert records[0].metadata.items() >= wanted.items() and "" not in records[0].metadata


def test_colonoscopy_names_its_parts_and_no_licence(tmp_path: Path) -> None:
    records = Colonoscopy(write_colonoscopy(tmp_path)).records()
    assert {record.source for record in records} == {"PolypsSet", "SUN", "Mesejo"}
    assert all(record.licence == "" and record.subject == record.group for record in records)


def test_ham10000_has_lesions_and_metadata(tmp_path: Path) -> None:
    table = "lesion_id,image_id,dx,dx_type,age,sex,localization\nHAM_1,ISIC_1,bkl,histo,80.0,male,scalp\n"
    (record,) = Folder(
        write_files(tmp_path, {"HAM10000_metadata.csv": table, "part_1/ISIC_1.jpg": ""}), test_share=0
    ).records()
    assert (record.licence, record.source, record.subject) == ("CC-BY-NC-4.0", "HAM10000", "HAM_1")
    assert record.metadata == {"dx_type": "histo", "age": "80.0", "sex": "male", "localization": "scalp"}


@pytest.mark.parametrize("licence", ["licence", "license"])
@pytest.mark.parametrize("subject", ["subject", "patient", "patient_id"])
def test_columns_of_a_metadata_table(licence: str, subject: str, tmp_path: Path) -> None:
    table = f"file_name,label,{licence},source,{subject},id\n0.jpg,a,MIT,ward,p1,7\n1.jpg,a,nan,,nan,\n"
    source = Folder(write_files(tmp_path, {"0.jpg": "", "1.jpg": "", "metadata.csv": table}), test_share=0)
    one, other = source.records()
    assert (one.licence, one.source, one.subject, one.group) == ("MIT", "ward", "p1", "p1")
    assert (other.licence, other.source, other.subject, other.group) == ("", "", "", "1")
    assert (one.image_id, one.metadata, other.metadata) == ("0", {"id": "7"}, {"id": ""})
    assert source.notes() == [
        "Images without a group are grouped by their subject.",
        "metadata.csv: 1 column (id) not read, unless data.metadata_columns names them.",
    ]


def test_two_columns_of_one_meaning_are_refused(tmp_path: Path) -> None:
    root = write_files(tmp_path, {"0.jpg": "", "metadata.csv": "file_name,label,patient,patient_id\n0.jpg,a,1,2\n"})
    refused(DATA, lambda: Folder(root).records(), "columns patient and patient_id both give the subject; remove one")


def test_a_subject_is_on_one_side_of_a_split(tmp_path: Path) -> None:
    table = "file_name,label,split,patient\n0.jpg,a,train,p\n1.jpg,a,test,p\n"
    root = write_files(tmp_path, {"0.jpg": "", "1.jpg": "", "metadata.csv": table})
    refused(DATA, lambda: Folder(root).records(), "1 group (p: test and train) on two sides of a split")


def test_columns_of_a_parquet_file(tmp_path: Path) -> None:
    columns = {"image": [b"x"], "label": ["a"], "license": ["MIT"], "patient_id": [7], "age": [61], "box": [[1, 2]]}
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    (record,) = Folder(tmp_path, test_share=0).records()
    assert (record.licence, record.subject, record.group, record.metadata) == ("MIT", "7", "7", {"age": "61"})


def test_a_licence_of_the_settings_is_for_images_without_one() -> None:
    records = [a_record(licence="MIT"), a_record()]
    assert [one.licence for one in apply_settings(records, Data(licence="CC0-1.0"))] == ["MIT", "CC0-1.0"]


def test_metadata_is_what_the_settings_name() -> None:
    records = [a_record(metadata={"age": "7", "sex": "", "name": "Doe"})]
    assert apply_settings(records, Data())[0].metadata == {}
    (chosen,) = apply_settings(records, Data(metadata_columns=("sex", "age")))
    assert metadata_cell(chosen.metadata) == '{"age": "7"}' and metadata_cell({"age": ""}) == ""
    refused(
        DATA,
        lambda: apply_settings(records, Data(metadata_columns=("age", "weight"))),
        "data.metadata_columns: no column weight in the tables of the dataset. Fix: name some of age, name, sex",
    )


def test_hashed_subjects_are_found_by_their_names() -> None:
    patient = pseudonym("patient", "12")
    records = [a_record(subject="12", group="lesion 3"), a_record(subject=patient, group=patient), a_record()]
    plain, dicom, unknown = apply_settings(records, Data(hash_subjects=True))
    assert {plain.subject, dicom.subject, "12", patient} == subject_spellings("12")
    assert plain.group == pseudonym("subject", "lesion 3") and dicom.group == dicom.subject
    assert (unknown.subject, unknown.group) == ("", unknown.image_id)


def test_settings_of_origins_run_ingest_again_and_their_defaults_do_not() -> None:
    def signed(*words: str) -> str:
        return dataset_content_hash(load_config(None, ["run.root=/r", *words]))

    plain = "phantom 2 dermoscopy 1600 128x96 0.1 0.2 seed 0 "
    assert signed() == plain + str(phantom_root(load_config(None, ["run.root=/r"])))
    changes = ["data.licence=MIT", "data.metadata_columns=[age]", "data.hash_subjects=true"]
    assert len({signed(), *map(signed, changes)}) == 4
