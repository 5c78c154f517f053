"""Any folder: subfolders or tables in, records out, nothing from outside of it."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from vapray.data.dataset import open_source
from vapray.data.folder import Folder
from vapray.data.isic2018 import Isic2018
from vapray.data.phantom.layout import write_isic2018
from vapray.errors import ConfigError, DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for class_name in ("polyp", "normal"):
        for number in range(10):
            path = tmp_path / "root" / class_name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4), (number, 0, 0)).save(path)
    return tmp_path / "root"


def write_csv(root: Path, *lines: str) -> Path:
    (root / "metadata.csv").write_text("\n".join(lines) + "\n")
    return root


def test_subfolders_are_classes_in_sorted_order_and_are_split(root: Path) -> None:
    source = Folder(root)
    records = source.records()
    assert source.class_names == ("normal", "polyp")
    assert {record.image_id for record in records} == {f"{name}/{n}" for name in source.class_names for n in range(10)}
    for label, name in enumerate(source.class_names):
        splits = [record.split for record in records if record.label == label and record.class_name == name]
        assert [splits.count(split) for split in ("train", "validation", "test")] == [7, 1, 2]
    assert all(Path(record.path).is_file() and record.group == record.image_id for record in records)


def test_hidden_files_and_folders_are_left_out(root: Path) -> None:
    expected = Folder(root).records()
    (root / ".thumbnails").mkdir()
    (root / ".thumbnails" / "a.png").write_bytes(b"")
    (root / "polyp" / "._0.png").write_bytes(b"")
    assert Folder(root).records() == expected


def test_split_folders_above_the_classes_are_kept(root: Path) -> None:
    shutil.copytree(root, root.parent / "parts" / "train")
    shutil.copytree(root, root.parent / "parts" / "val")
    splits = [record.split for record in Folder(root.parent / "parts").records()]
    assert splits == ["train"] * 20 + ["validation"] * 20


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_table_gives_labels_texts_groups_and_splits(root: Path, kind: str) -> None:
    rows = [
        {
            "file_name": "polyp/0.png",
            "label": "adenoma",
            "text": "A small, red polyp",
            "group": "p1",
            "split": "train",
        },
        {"file_name": "polyp/1.png", "label": "adenoma", "text": "", "group": "p1", "split": "train"},
        {"file_name": "normal/3.png", "label": "none", "text": "Pink mucosa", "group": "", "split": "val"},
    ]
    if kind == "csv":
        write_csv(root, ",".join(rows[0]), *(",".join(f'"{cell}"' for cell in row.values()) for row in rows))
    else:
        (root / "metadata.jsonl").write_text("\ufeff" + "\n\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    source = Folder(root)
    found = [(r.image_id, r.class_name, r.label, r.split, r.group) for r in source.records()]
    assert found == [
        ("polyp/0", "adenoma", 0, "train", "p1"),
        ("polyp/1", "adenoma", 0, "train", "p1"),
        ("normal/3", "none", 1, "validation", "normal/3"),
    ]
    texts = {record.image_id: record.text for record in source.records()}
    assert texts == {"polyp/0": "A small, red polyp", "polyp/1": "", "normal/3": "Pink mucosa"}


def test_the_signature_follows_the_table(root: Path) -> None:
    before = Folder(root).signature()
    assert Folder(root).signature() == before
    write_csv(root, "file_name,label", "polyp/0.png,a")
    with_table = Folder(root).signature()
    write_csv(root, "file_name,label", "polyp/0.png,b")
    assert len({before, with_table, Folder(root).signature()}) == 3


def test_a_link_among_the_class_folders_is_refused_too(root: Path) -> None:
    Image.new("RGB", (4, 4)).save(root.parent / "secret.png")
    (root / "polyp" / "link.png").symlink_to(root.parent / "secret.png")
    with pytest.raises(DataError, match=r"polyp/link\.png"):
        Folder(root).records()


def test_links_that_stay_inside_are_fine(root: Path) -> None:
    (root / "polyp" / "again.png").symlink_to(root / "polyp" / "0.png")
    assert len(Folder(root).records()) == 21


def test_sources_open_by_name(root: Path, tmp_path: Path) -> None:
    drawn = write_isic2018(tmp_path / "drawn", modality="colonoscopy", n_images=6, image_width=32, image_height=24)
    assert isinstance(open_source("folder", root, test_share=0.5), Folder)
    assert isinstance(open_source("isic2018", drawn.root), Isic2018)


def test_unknown_sources_and_options_are_refused_with_the_known_ones(root: Path) -> None:
    with pytest.raises(
        ConfigError, match="'isic2024' is unknown; known: isic2018, isic2019, chestxray14, colonoscopy, folder"
    ):
        open_source("isic2024", root)
    with pytest.raises(ConfigError, match="no option shuffle; it has validation_share, test_share, seed"):
        open_source("folder", root, shuffle=1)
