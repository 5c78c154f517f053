"""A set measured by the service has the numbers that the stage evaluate gives it."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.pictures import Images
from vapray.data.decode import decode
from vapray.errors import DataError
from vapray.evaluation.service.reference import ReferenceStatistics
from vapray.evaluation.service.set_measurement import SetMeasurement
from vapray.store.run_store import Store


def measured(reference: ReferenceStatistics, pictures: Images, chunk: int = 7) -> dict:
    measurement = SetMeasurement(reference, "uploaded")
    for start in range(0, len(pictures), chunk):
        measurement.add(pictures[start : start + chunk])
    return measurement.results()


def test_generated_samples_have_the_numbers_of_their_report(small_run: Path, reference):
    store = Store(str(small_run))
    rows = store.version("samples", store.latest("samples").fingerprint).read().to_pylist()
    made = np.stack([decode(row["png"]) for row in rows if row["arm"] == "generated"])
    found, report = measured(reference, made), json.loads((small_run / "report/metrics.json").read_bytes())
    for name in ("fid", "kid", "inception_score", "precision", "recall"):
        assert found[name]["value"] == pytest.approx(report[name], rel=1e-6), name
    for name in ("fid", "kid"):
        for bound in ("low", "high"):
            assert found[name][bound] == pytest.approx(report["intervals"][name][bound], rel=1e-6)
    assert found["features_sha256"] == report["provenance"]["extractor_sha256"]
    assert (found["n"], found["n_reference"]) == (report["n_generated"], report["n_real"])


def test_held_out_pictures_have_the_fid_that_the_report_gives_them(small_run: Path, reference, frames):
    report = json.loads((small_run / "report/metrics.json").read_bytes())
    assert measured(reference, frames["test"])["fid"]["value"] == pytest.approx(report["fid_real_split"], rel=1e-6)


def test_the_training_pictures_themselves_are_at_distance_zero(reference, frames):
    found = measured(reference, frames["train"])
    assert found["fid"]["value"] == pytest.approx(0, abs=1e-6)
    assert found["precision"]["value"] == found["recall"]["value"] == 1.0


def test_noise_is_much_farther_than_real_pictures(reference, frames, noise):
    real, far = measured(reference, frames["test"]), measured(reference, noise)
    for name in ("fid", "kid"):
        assert far[name]["value"] > 20 * real[name]["value"]
        assert far[name]["low"] > real[name]["high"]
    assert far["precision"]["value"] == 0 < real["precision"]["value"]


def test_pictures_may_come_in_any_chunks(reference, frames):
    whole, single = (measured(reference, frames["test"], chunk) for chunk in (99, 1))
    for name in ("fid", "kid", "inception_score"):
        assert single[name]["value"] == pytest.approx(whole[name]["value"], rel=1e-5)


def test_a_small_set_says_what_it_cannot_tell(reference, frames):
    found = measured(reference, frames["test"][:2])
    assert found["fid"]["value"] > 0 and found["fid"]["low"] is None
    assert found["precision"] is found["recall"] is found["inception_score"] is None
    said = " ".join(found["warnings"])
    for part in ("2 uploaded images are fewer than the 96 features", "more than 3 images", "at least 10 images"):
        assert part in said
    json.dumps(found, allow_nan=False)


def test_one_picture_and_another_size_are_refused(reference, frames):
    with pytest.raises(DataError, match="got 1 images, expected at least 2"):
        measured(reference, frames["test"][:1])
    with pytest.raises(DataError, match=r"expected \[B, 32, 32, 3\], got \[1, 16, 16, 3\]"):
        measured(reference, frames["test"][:1, :16, :16])
