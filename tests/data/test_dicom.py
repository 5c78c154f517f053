"""A DICOM file looks as its header says it should: rescaled, windowed, the right way round."""

import numpy as np
import pyarrow as pa
import pytest

from tests.bad_inputs.dicom_files import PERSON, RAMP, make_dicom
from vapray.config.loader import load_config
from vapray.data.dataset import dataset_content_hash
from vapray.data.decode import decode
from vapray.data.folder import Folder
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


def test_pictures_of_one_patient_are_one_group_that_does_not_tell_who(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    for number, patient in enumerate(["X-1", "X-1", "X-2", None]):
        (tmp_path / "a" / f"{number}.dcm").write_bytes(make_dicom(PatientID=patient))
    (tmp_path / "a" / "4.dcm").write_bytes(b"torn")
    groups = {record.image_id: record.group for record in Folder(tmp_path).records()}
    assert groups["a/0"] == groups["a/1"] != groups["a/2"]
    assert (groups["a/3"], groups["a/4"]) == ("a/3", "a/4")
    assert not any("X-1" in group or "X-2" in group for group in groups.values())


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
