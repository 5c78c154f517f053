"""Limits of the images that numbers rest on: what is sampled is told, and copies are looked for in all images."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from vapray.evaluation.extractors.extractor import FeatureSpace
from vapray.evaluation.image_samples import ImageSample, RealSamples
from vapray.evaluation.set_metrics import FeatureSet, compare_classes, compare_sets
from vapray.store.run_store import Store
from vapray.store.tables import TABLES, build_part

LIMITS = ("reference_images=20", "held_out_images=14", "pair_images=10", "classifier_images=30")


def report_of(root: Path) -> tuple[dict, dict]:
    return tuple(json.loads((root / "report" / name).read_text()) for name in ("metrics.json", "memorisation.json"))  # type: ignore[return-value]


def test_a_run_with_limits_tells_its_samples_and_looks_for_copies_in_all_images(small_run, joined_job, tmp_path):
    metrics, copies = report_of(small_run)
    n_train, n_held_out = metrics["n_real"], round(metrics["further"]["n_held_out"])
    assert metrics["basis"]["fid"] == {"n": [n_train, 20], "of": [n_train, 20], "how": "all"}
    assert {one["how"] for one in metrics["basis"].values()} == {"all"}
    root = Path(shutil.copytree(small_run, tmp_path / "run"))
    done = joined_job("evaluate", *(f"evaluate.{limit}" for limit in LIMITS), root=root)
    assert done.returncode == 0, done.stdout + done.stderr
    limited, found = report_of(root)
    basis = limited["basis"]
    assert basis["fid"]["of"] == [n_train, 20]
    assert 15 <= basis["fid"]["n"][0] == limited["n_real"] <= 20
    assert basis["kid"]["n"] == [10, 10]
    assert basis["fid_real_split"]["of"] == [n_train, n_held_out]
    assert basis["fid_real_split"]["n"][1] == limited["further"]["n_held_out"] <= 14
    assert basis["label_accuracy"]["n"] == [30, 20]
    assert basis["copies_share_pixels"] == metrics["basis"]["copies_share_pixels"]
    assert {basis[name]["how"] for name in ("fid", "label_accuracy")} == {"lowest hashes, classes in proportion"}
    assert basis["kid"]["how"] == "drawn from those of fid"
    assert found["n_training"] == copies["n_training"] == n_train
    pairs = [[(one["generated"], one["training"]) for one in card["nearest_by_pixels"]] for card in (found, copies)]
    assert pairs[0] == pairs[1]  # nearest in all training images
    assert limited["fid"] != metrics["fid"]


@pytest.fixture
def real(tmp_path: Path) -> tuple[Store, RealSamples]:
    store = Store(str(tmp_path))
    images, measured = store.version("images", "i"), store.version("reference_measurements", "r")
    splits = {"train": 60, "test": 30, "validation": 5}
    rows = [
        {"image_id": f"{split} {number:03d}", "label": number % 3, "split": split, "group": f"g{number}"}
        for split, count in splits.items()
        for number in range(count)
    ]
    for begin in range(0, len(rows), 20):
        images.write_part(build_part(TABLES["images"], rows[begin : begin + 20]))
    sets = {"reference": ("train", "image"), "held_out": ("test", "image"), "reconstructed": ("test", "reconstructed")}
    found = [
        {"key": f"{prefix}/{row['image_id']}", "set": name, "label": row["label"]}
        for name, (split, prefix) in sets.items()
        for row in rows
        if row["split"] == split
    ]
    found += [{"key": f"planted/train 000/{kind}", "set": "planted", "label": 0} for kind in "ab"]
    measured.write_part(build_part(TABLES["reference_measurements"], found))
    return store, RealSamples.draw(images, reference=12, held_out=9)


def test_measurements_are_read_of_the_samples_only(real):
    store, samples = real
    read = samples.measured(store.version("reference_measurements", "r"), ["features"])
    counts = {name: read["set"].to_pylist().count(name) for name in set(read["set"].to_pylist())}
    assert counts == {"reference": 12, "held_out": 9, "reconstructed": 9, "planted": 2}
    ids = {name: {key.split("/", 1)[1] for key in of_set(read, name)} for name in ("held_out", "reconstructed")}
    assert ids["held_out"] == ids["reconstructed"] == set(samples.held_out_rows["image_id"].to_pylist())
    assert (samples.splits, samples.held_out_split) == ({"train": 60, "test": 30, "validation": 5}, "test")
    assert read["key"].to_pylist() == sorted(read["key"].to_pylist())


def of_set(table: pa.Table, name: str) -> list[str]:
    return table.filter(pa.compute.equal(table["set"], name))["key"].to_pylist()


def test_a_sample_reads_its_rows_from_the_table(real):
    store, _ = real
    images = store.version("images", "i")
    parts = list(images.read_parts(["image_id", "label", "split"]))
    train = [part.filter(pa.compute.equal(part["split"], "train")) for part in parts]
    rows = ImageSample.draw(train, 9).rows(images, ["group"], "train")
    assert rows.num_rows == 9
    assert rows.column_names == ["image_id", "label", "group"]


def feature_sets(counts: tuple[int, int]) -> list[FeatureSet]:
    rng = np.random.default_rng(0)
    return [
        FeatureSet(
            rng.standard_normal((count, 6)) + shift,
            np.arange(count) % 2,
            FeatureSpace("some", "0" * 64, 6, 64),
            "drawn",
        )
        for count, shift in zip(counts, (0.0, 0.3), strict=True)
    ]


def test_pairs_are_limited_and_fid_is_not():
    real, made = feature_sets((300, 200))
    whole, limited = compare_sets(real, made, draws=8), compare_sets(real, made, draws=8, most_pairs=100)
    assert limited.fid == whole.fid
    assert limited.intervals["fid"] == whole.intervals["fid"]
    assert limited.kid != whole.kid
    assert limited.intervals["kid"].low < whole.kid < limited.intervals["kid"].high
    assert compare_sets(real, made, draws=8, most_pairs=300) == whole
    by_class = [compare_classes(real, made, most_pairs=most) for most in (None, 50)]
    assert [one.fid for one in by_class[0]] == [one.fid for one in by_class[1]]
    assert [one.kid for one in by_class[0]] != [one.kid for one in by_class[1]]
