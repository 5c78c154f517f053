"""A DICOM file looks as its header says it should: rescaled, windowed, the right way round."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.bad_inputs.dicom_files import PERSON, RAMP, make_dicom
from vapray.config.loader import load_config
from vapray.data.dataset import dataset_content_hash
from vapray.data.decode import decode
from vapray.data.folder import Folder
from vapray.data.image_files import is_image_file
from vapray.data.image_loading import load_square_image
from vapray.data.stage import _CheckImages

WHOLE = np.arange(256)
HALF = (WHOLE * 2).clip(0, 255)
"""What a window over the darker half of the ramp shows."""
SHOWN = {
    "no window: minimum to maximum": (RAMP, {}, WHOLE),
    "eight bits as they are": (np.full((4, 256), 90, np.uint8), {}, np.full(256, 90)),
    "signed": (RAMP.astype(np.int16) - 2048, {}, WHOLE),
    "window": (RAMP, {"WindowCenter": 1024, "WindowWidth": 2048}, HALF),
    "the first of several windows": (RAMP, {"WindowCenter": [1024, 9], "WindowWidth": [2048, 9]}, HALF),
    "empty window": (RAMP, {"WindowCenter": "", "WindowWidth": ""}, WHOLE),
    "rescaled, then windowed": (
        RAMP,
        {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 0, "WindowWidth": 2048},
        HALF,
    ),
    "turned round by its slope": (
        RAMP,
        {"RescaleSlope": -1, "RescaleIntercept": 4095, "WindowCenter": 2048, "WindowWidth": 4096},
        255 - WHOLE,
    ),
    "MONOCHROME1": (RAMP, {"PhotometricInterpretation": "MONOCHROME1"}, 255 - WHOLE),
    "MONOCHROME1, windowed": (
        RAMP,
        {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 1024, "WindowWidth": 2048},
        255 - HALF,
    ),
    "flat": (np.full((4, 256), 700, np.uint16), {}, np.zeros(256)),
}


@pytest.mark.parametrize(("stored", "tags", "expected"), SHOWN.values(), ids=SHOWN)
def test_grey_is_shown_as_the_header_says(stored, tags, expected) -> None:
    picture = decode(make_dicom(stored, **tags))
    assert picture.shape == (4, 256, 3) and picture.dtype == np.uint8
    assert np.abs(picture.astype(int) - expected[None, :, None]).max() <= 2


def test_colours_are_kept() -> None:
    stored = np.random.default_rng(0).integers(0, 256, (4, 256, 3), dtype=np.uint8)
    colours = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "PhotometricInterpretation": "RGB"}
    assert np.array_equal(decode(make_dicom(stored, **colours)), stored)


def test_the_name_of_a_file_says_nothing_about_its_kind(tmp_path) -> None:
    (tmp_path / "scan.png").write_bytes(make_dicom())
    assert load_square_image(str(tmp_path / "scan.png"), 4).shape == (4, 4, 3)


def test_an_accepted_file_is_read_without_its_mark() -> None:
    assert np.array_equal(decode(make_dicom(PatientIdentityRemoved="NO"), accept_identified=True), decode(make_dicom()))


def test_ingest_asks_for_the_mark_and_keeps_nothing_of_the_header(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "scan.dcm").write_bytes(make_dicom(PatientIdentityRemoved=None))
    (record,) = Folder(tmp_path).records()
    facts = {"image_id": "a/scan", "label": 0, "split": "train", "group": "g", "class": "a", "path": record.path}
    refused, accepted = (_CheckImages(accept)(pa.table({k: [v] for k, v in facts.items()})) for accept in (False, True))
    assert "not marked as de-identified" in refused["reject"][0].as_py()
    assert (accepted["reject"][0].as_py(), accepted["width"][0].as_py(), accepted["height"][0].as_py()) == (
        None,
        256,
        4,
    )
    assert not any(part in str(accepted.to_pylist()) for part in PERSON.split("^"))


PATIENTS = ("X-1", "X-1", "X-2", None)
NAMES = {"dcm": "{}.dcm", "dicom": "{}.DICOM", "no suffix": "IM{}", "UID": "1.2.840.{}", "wrong suffix": "{}.png"}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_images_of_one_patient_are_one_group_that_does_not_tell_who(tmp_path, name: str) -> None:
    (tmp_path / "a").mkdir()
    for number, patient in enumerate(PATIENTS):
        (tmp_path / "a" / name.format(number)).write_bytes(make_dicom(PatientID=patient))
    (tmp_path / "a" / "4.dcm").write_bytes(b"torn")
    records = {record.path: record for record in Folder(tmp_path).records()}
    one, same, other, unknown, torn = (
        records[str(tmp_path / "a" / file)] for file in (*(name.format(number) for number in range(4)), "4.dcm")
    )
    assert one.group == same.group != other.group
    assert (unknown.group, torn.group) == (unknown.image_id, "a/4")
    assert not any("X-1" in record.group or "X-2" in record.group for record in records.values())


def test_only_dicom_files_need_no_suffix(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("IM1", "DICOMDIR"):
        (tmp_path / "a" / name).write_bytes(make_dicom())
    for name in ("README", "notes.1", "IM2.txt"):
        (tmp_path / "a" / name).write_text("no image")
    assert [record.image_id for record in Folder(tmp_path).records()] == ["a/IM1"]


@pytest.mark.parametrize("name", ["a.JFIF", "a.jpe", "a.b.png", "a.pnm", "a.dicom", "1.2.3.IMA"])
def test_an_image_is_known_by_its_suffix(name: str) -> None:
    assert is_image_file(Path(name)) and not is_image_file(Path(f"._{name}")) and not is_image_file(Path(f"{name}.txt"))


@pytest.mark.parametrize("is_struct", [True, False])
def test_dicom_images_in_parquet_are_grouped_by_patient(tmp_path, is_struct: bool) -> None:
    images = [make_dicom(PatientID=patient) for patient in PATIENTS]
    column = [{"bytes": image, "path": None} for image in images] if is_struct else images
    pq.write_table(pa.table({"image": column, "label": ["a"] * 4}), tmp_path / "scans.parquet")
    groups = {record.image_id: record.group for record in Folder(tmp_path).records()}
    assert groups["scans/0"] == groups["scans/1"] != groups["scans/2"]
    assert groups["scans/3"] == "scans/3"


def test_a_table_may_group_dicom_files_otherwise(tmp_path) -> None:
    (tmp_path / "0.dcm").write_bytes(make_dicom(PatientID="X-1"))
    (tmp_path / "metadata.csv").write_text("file_name,label,group\n0.dcm,a,eye-7\n")
    assert [record.group for record in Folder(tmp_path).records()] == ["eye-7"]


def test_accepting_identified_files_is_another_dataset(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "scan.dcm").write_bytes(make_dicom())
    settings = ["data.source=folder", f"data.root={tmp_path}"]
    plain, accepting = (load_config(None, [*settings, *more]) for more in ([], ["data.accept_identified_dicom=true"]))
    assert dataset_content_hash(plain) != dataset_content_hash(accepting)
