"""Images that differ in their origins only keep their content hash, so that later stages do not run again."""

from pathlib import Path
from typing import Any

import pytest

from vapray.data.origins import content_hash_of_same_images
from vapray.store.run_store import Store
from vapray.store.tables import TABLES, build_part
from vapray.store.version import Version

CLASSES = ("NV", "MEL")
ROW = {"image_id": "a", "label": 0, "split": "train", "group": "a", "class": "NV", "path": "/a", "text": ""}
ROW |= {"licence": "", "source": "", "subject": "", "metadata": "", "sha256": "0", "width": 4, "height": 3}
OTHER = [("label", 1), ("split", "test"), ("group", "g"), ("path", "/b"), ("text", "x"), ("sha256", "1"), ("width", 5)]


def write(root: Path, name: str, row: dict[str, Any], reason: str | None = None) -> Version:
    version = Store(str(root)).version("images", name)
    version.write_part(build_part(TABLES["images"], [row], {"b": reason or "not an image"}))
    return version


def seal(version: Version, **notes: Any) -> str:
    card = {"class_names": list(CLASSES)} | notes
    manifest = version.seal(stage="ingest", sections={}, inputs={}, seconds=1.0, versions={}, notes=card)
    return manifest.content_hash


@pytest.mark.parametrize("column", ["licence", "source", "subject", "metadata"])
def test_other_origins_keep_the_content_hash(column: str, tmp_path: Path) -> None:
    first = seal(write(tmp_path, "first", ROW))
    second = write(tmp_path, "second", ROW | {column: "x"})
    assert content_hash_of_same_images(second, str(tmp_path), CLASSES) == first
    assert seal(second, content_hash=first) == first
    third = write(tmp_path, "third", ROW | {column: "y"})
    assert content_hash_of_same_images(third, str(tmp_path), CLASSES) == first
    found = Store(str(tmp_path)).find_by_content("images", first)
    assert found and found.fingerprint == "second", "the newest"


@pytest.mark.parametrize(("column", "value"), OTHER)
def test_any_other_change_does_not(column: str, value: object, tmp_path: Path) -> None:
    seal(write(tmp_path, "first", ROW))
    assert content_hash_of_same_images(write(tmp_path, "second", ROW | {column: value}), str(tmp_path), CLASSES) is None


def test_neither_do_other_classes_or_another_reject(tmp_path: Path) -> None:
    seal(write(tmp_path, "first", ROW))
    same, other = write(tmp_path, "same", ROW), write(tmp_path, "other", ROW, "cut off")
    assert content_hash_of_same_images(same, str(tmp_path), CLASSES[::-1]) is None
    assert content_hash_of_same_images(other, str(tmp_path), CLASSES) is None


def test_a_damaged_version_is_passed_over(tmp_path: Path) -> None:
    first = seal(write(tmp_path, "first", ROW))
    seal(write(tmp_path, "second", ROW))
    (part,) = (tmp_path / "images" / "second" / "parts").iterdir()
    part.write_bytes(b"x")
    assert content_hash_of_same_images(write(tmp_path, "third", ROW), str(tmp_path), CLASSES) == first
