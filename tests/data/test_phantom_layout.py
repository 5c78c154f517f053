"""What is written is what the ISIC 2018 adapter reads."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from vapray.data.decode import decode
from vapray.data.isic2018 import Isic2018
from vapray.data.phantom.layout import read_attributes, write_isic2018
from vapray.data.phantom.modalities import MODALITIES
from vapray.data.phantom.plan import plan_views
from vapray.data.splits import crossing_groups
from vapray.errors import ConfigError, DataError

SMALL: dict[str, Any] = {"n_images": 30, "image_width": 48, "image_height": 36, "seed": 3}


def read_tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_adapter_reads_back_ids_labels_splits_and_groups(modality: str, tmp_path: Path) -> None:
    folder = write_isic2018(tmp_path / "drawn", modality=modality, **SMALL)
    source = Isic2018(folder.root)
    views = {view.image_id: view for view in plan_views(MODALITIES[modality], 30, seed=3)}
    records = {record.image_id: record for record in source.records()}
    assert source.class_names == MODALITIES[modality].class_names
    assert records.keys() == views.keys() == folder.images.keys()
    for name, record in records.items():
        assert (record.class_name, record.split) == (views[name].class_name, views[name].split)
        assert record.class_name == source.class_names[record.label]
        assert record.group == (views[name].lesion_id if record.split == "train" else name)
        assert record.path == str(folder.images[name])
    assert decode(folder.images[name].read_bytes()).shape == (36, 48, 3)


@pytest.mark.parametrize("modality", MODALITIES)
def test_true_attributes_survive_the_table(modality: str, tmp_path: Path) -> None:
    folder = write_isic2018(tmp_path / "drawn", modality=modality, **SMALL)
    planned = {view.image_id: view.attributes for view in plan_views(MODALITIES[modality], 30, seed=3)}
    assert read_attributes(folder.root) == planned


def test_same_seed_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    trees = [
        read_tree(write_isic2018(tmp_path / name, modality="dermoscopy", **SMALL | {"seed": seed}).root)
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    ]
    assert trees[0] == trees[1]
    assert trees[0] != trees[2]


def test_lesions_have_one_to_three_views_in_one_split() -> None:
    views = plan_views(MODALITIES["dermoscopy"], 400, seed=0)
    assert set(Counter(view.lesion_id for view in views).values()) == {1, 2, 3}
    splits = {view.lesion_id: view.split for view in views}
    assert all(splits[view.lesion_id] == view.split for view in views)
    assert all(len({v.class_name for v in views if v.lesion_id == view.lesion_id}) == 1 for view in views[:50])


def test_shares_and_priors_set_the_counts() -> None:
    views = plan_views(
        MODALITIES["chest_xray"],
        200,
        seed=0,
        shares={"train": 3, "test": 1},
        priors={"Normal": 3, "Effusion": 1},
    )
    counts = Counter((view.split, view.class_name) for view in views)
    assert counts == {
        ("train", "Normal"): 113,
        ("train", "Effusion"): 37,
        ("test", "Normal"): 38,
        ("test", "Effusion"): 12,
    }


def test_equal_priors_give_nearly_equal_classes_in_every_split() -> None:
    counts = Counter((view.split, view.class_name) for view in plan_views(MODALITIES["dermoscopy"], 203, seed=1))
    for split in ("train", "validation", "test"):
        found = [count for (side, _), count in counts.items() if side == split]
        assert len(found) == 5 and max(found) - min(found) <= 1


def test_the_groups_of_a_written_set_are_sound(tmp_path: Path) -> None:
    records = Isic2018(write_isic2018(tmp_path / "drawn", modality="dermoscopy", **SMALL).root).records()
    assert not list(crossing_groups((record.group, record.split) for record in records))
    groups = Counter(record.group for record in records if record.split == "train")
    assert max(groups.values()) > 1


def test_a_killed_run_leaves_no_half_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def stop(*arguments: object) -> bytes:
        calls.append(arguments)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return b"picture"

    monkeypatch.setattr("vapray.data.phantom.layout.encode_jpeg", stop)
    with pytest.raises(KeyboardInterrupt):
        write_isic2018(tmp_path / "drawn", modality="dermoscopy", **SMALL)
    assert len(calls) == 5 and list(tmp_path.iterdir()) == []


def test_a_folder_with_files_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="contains files"):
        write_isic2018(tmp_path, modality="dermoscopy", **SMALL)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modality": "mri"}, "chest_xray"),
        ({"n_images": 2}, "n_images 2"),
        ({"image_height": 8}, "8 pixels"),
        ({"shares": {"train": 0.5, "dev": 0.5}}, "dev"),
        ({"shares": {"test": 1.0}}, "train share"),
        ({"priors": {"SCC": 1.0}}, "SCC"),
        ({"priors": {"MEL": -1.0, "NV": 2.0}}, "at least 0"),
    ],
)
def test_a_request_that_cannot_be_drawn_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        write_isic2018(tmp_path / "drawn", **{"modality": "dermoscopy"} | SMALL | change)
    assert not (tmp_path / "drawn").exists()


def test_attributes_of_a_folder_without_them_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"phantom_attributes\.csv"):
        read_attributes(tmp_path)
