"""Which real pictures belong to a checkpoint."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from vapray.errors import DataError
from vapray.evaluation.service.real_images import find_real_images
from vapray.store.run_store import Store


@pytest.fixture
def run(small_run: Path, tmp_path: Path) -> Path:
    """A copy of what matters of the run."""
    for table in ("images", "checkpoints", "reference_measurements"):
        shutil.copytree(small_run / table, tmp_path / "run" / table)
    return tmp_path / "run"


def checkpoint_in(run: Path) -> str:
    return str(next((run / "checkpoints").glob("*/files/final")))


def test_a_checkpoint_is_followed_to_the_pictures_of_its_run(run, card):
    for path in (checkpoint_in(run), f"{checkpoint_in(run)}/", f"file://{checkpoint_in(run)}"):
        found = find_real_images(path, card.class_names)
        assert found and found.class_names == card.class_names
        assert found.images.read(["path"]).num_rows == 90
        assert [version.table for version in found.references] == ["reference_measurements"]


def test_a_checkpoint_that_lies_alone_has_none_unless_a_run_is_named(run, card, tmp_path):
    alone = str(shutil.copytree(checkpoint_in(run), tmp_path / "elsewhere" / "files" / "final"))
    assert find_real_images(alone, card.class_names) is None
    found = find_real_images(alone, card.class_names, str(run))
    assert found and found.images.uri.startswith(str(run))


def test_of_several_datasets_the_one_that_was_trained_on_is_taken(run, card):
    store = Store(str(run))
    (name,) = store.files.names("images")
    newer = replace(store.version("images", name).require_manifest(), fingerprint="another", finished=9e9)
    shutil.copytree(run / "images" / name, run / "images" / "another")
    store.files.write("images/another/manifest.json", newer.to_json({}.__setitem__))
    found = find_real_images(checkpoint_in(run), card.class_names)
    assert found and found.images.fingerprint == name
    elsewhere = find_real_images("/nowhere/files/final", card.class_names, str(run))
    assert elsewhere and elsewhere.images.fingerprint == "another" and not elsewhere.references


def test_a_named_run_without_these_classes_is_refused(run):
    with pytest.raises(DataError, match="no finished images of the classes A, B"):
        find_real_images("/nowhere/files/final", ("A", "B"), str(run))


def test_pictures_whose_manifest_is_damaged_are_not_taken(run, card):
    manifest = next((run / "images").glob("*/manifest.json"))
    manifest.write_bytes(manifest.read_bytes().replace(b'"rows": 90', b'"rows": 91'))
    assert find_real_images(checkpoint_in(run), card.class_names) is None
