"""Features of real pictures are taken from where they are, measured where they are not, and never read damaged."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from vapray.errors import DataError
from vapray.evaluation.service.real_images import RealImages
from vapray.evaluation.service.reference import ReferenceStatistics
from vapray.store.run_store import Store
from vapray.store.tables import TABLES, build_part


class Told(list):
    def __call__(self, text: str) -> None:
        self.append(text)


def same(first: ReferenceStatistics, second: ReferenceStatistics) -> bool:
    pairs = ((first.reference, second.reference), (first.held_out, second.held_out))
    equal = [np.array_equal(a.features, b.features) and np.array_equal(a.labels, b.labels) for a, b in pairs]
    return all(equal) and first.keys == second.keys


def test_an_evaluation_spares_looking_at_the_pictures(reference, real, card, tmp_path):
    told = Told()
    assert same(ReferenceStatistics.load(real, card.config, str(tmp_path), told), reference)
    assert not told and not list(tmp_path.iterdir())
    assert reference.label_prior == {label: (reference.reference.labels == label).sum() for label in range(5)}
    assert reference.classifier


def test_what_is_measured_without_an_evaluation_is_the_same_and_measured_once(reference, real, card, tmp_path):
    told, unmeasured = Told(), replace(real, references=())
    for _ in range(2):
        assert same(ReferenceStatistics.load(unmeasured, card.config, str(tmp_path), told), reference)
    assert len(told) == 1 and "measuring the real images" in told[0]


def test_two_that_measure_at_the_same_time_share_one_version(reference, real, card, tmp_path):
    told, unmeasured, barrier = Told(), replace(real, references=()), threading.Barrier(2)

    def load(_: int) -> ReferenceStatistics:
        barrier.wait()
        return ReferenceStatistics.load(unmeasured, card.config, str(tmp_path), told)

    with ThreadPoolExecutor(2) as pool:
        assert all(same(found, reference) for found in pool.map(load, range(2)))
    assert len(told) == 2
    assert len(list(tmp_path.rglob("parts/*.parquet"))) == len(list(tmp_path.rglob("manifest.json"))) == 1


@pytest.mark.parametrize("what", ["manifest.json", "parts/*.parquet"])
def test_damaged_features_are_noticed_and_made_again(reference, real, card, tmp_path, what):
    told, unmeasured = Told(), replace(real, references=())
    ReferenceStatistics.load(unmeasured, card.config, str(tmp_path), told)
    (file,) = tmp_path.glob(f"reference/reference_measurements/*/{what}")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    for _ in range(2):
        assert same(ReferenceStatistics.load(unmeasured, card.config, str(tmp_path), told), reference)
    assert len(told) == 2 and "again" in told[1]


def test_features_of_another_picture_size_are_not_taken(reference, real, card, tmp_path):
    config = card.config.model_copy(update={"data": card.config.data.model_copy(update={"image_size": 16})})
    told = Told()
    smaller = ReferenceStatistics.load(real, config, str(tmp_path), told)
    assert told and not same(smaller, reference)
    assert smaller.classifier is None


@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_bytes(b"\0" * 999)])
def test_a_classifier_that_is_not_what_was_written_is_not_used(real, card, tmp_path, damage):
    evaluation = real.references[0]
    shutil.copytree(evaluation.files.path(evaluation.folder), tmp_path / evaluation.folder)
    copy = replace(real, references=(Store(str(tmp_path)).version("reference_measurements", evaluation.fingerprint),))
    assert ReferenceStatistics.load(copy, card.config, str(tmp_path), print).classifier
    damage(tmp_path / evaluation.folder / "files" / "classifier.safetensors")
    assert ReferenceStatistics.load(copy, card.config, str(tmp_path), print).classifier is None


def test_lost_pictures_are_named_and_nothing_is_kept(real, card, tmp_path):
    rows = real.images.read().to_pylist()
    lost = Store(str(tmp_path / "run")).version("images", "lost")
    lost.write_part(build_part(TABLES["images"], [row | {"path": f"{tmp_path}/{row['image_id']}"} for row in rows]))
    notes = {"class_names": list(card.class_names)}
    lost.seal(stage="ingest", sections={}, inputs={}, seconds=0, versions={}, notes=notes)
    with pytest.raises(DataError, match=r"81 of 81 real images can no longer be read, such as .*: cannot be read"):
        ReferenceStatistics.load(RealImages(lost, ()), card.config, str(tmp_path / "state"), print)
    assert not list(tmp_path.glob("state/**/manifest.json"))
