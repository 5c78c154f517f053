"""Pictures inside Parquet files are read in place."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vapray.config.loader import load_config
from vapray.data.folder import Folder
from vapray.data.forecast import count_images
from vapray.data.image_loading import load_square_image, load_square_images
from vapray.data.stage import _CheckImages
from vapray.errors import DataError, ImageDecodeError


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (6, 4), (shade, shade, shade)).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, shades: range, *, names: list[str] | None = None, struct: bool = True, **columns: Any) -> None:
    """A file of pictures, four in a row group; the label is the shade's parity unless ``columns`` say otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = [picture(shade) for shade in shades]
    images = [{"bytes": data, "path": f"{shade}.png"} for data, shade in zip(pictures, shades, strict=True)]
    table = pa.table({"image": images if struct else pictures, "label": [shade % 2 for shade in shades]} | columns)
    if names:
        features = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(table, path, row_group_size=4)


@pytest.mark.parametrize("struct", [True, False])
def test_a_row_is_a_picture(tmp_path: Path, struct: bool) -> None:
    write(tmp_path / "photos.parquet", range(10), struct=struct)
    source = Folder(tmp_path)
    assert source.class_names == ("0", "1")
    for record in source.records():
        number = int(record.image_id.removeprefix("photos/"))
        assert record.class_name == str(number % 2) and record.group == record.image_id
        assert np.array_equal(load_square_image(record.path, 4), np.full((4, 4, 3), number))


def test_the_files_names_and_metadata_give_splits_and_class_names(tmp_path: Path) -> None:
    write(tmp_path / "data" / "train-00000-of-00002.parquet", range(4), names=["polyp", "normal"])
    write(tmp_path / "data" / "train-00001-of-00002.parquet", range(4, 8), names=["polyp", "normal"])
    write(tmp_path / "data" / "test-00000-of-00001.parquet", range(8, 10), names=["polyp", "normal"])
    records = Folder(tmp_path).records()
    assert [record.split for record in records] == ["train"] * 8 + ["test"] * 2
    assert [record.class_name for record in records if record.split == "test"] == ["polyp", "normal"]
    assert records[0].image_id == "data/train-00000-of-00002/0"


def test_one_file_called_train_is_split(tmp_path: Path) -> None:
    write(tmp_path / "train-00000-of-00001.parquet", range(40))
    splits = [record.split for record in Folder(tmp_path).records()]
    assert [splits.count(split) for split in ("train", "validation", "test")] == [28, 4, 8]


def test_texts_groups_and_splits_may_be_columns(tmp_path: Path) -> None:
    split = ["train", "train", "val", "test"]
    texts = {"text": ["red", None, "", "pale"], "group": ["p", "p", "q", "r"], "label": ["a", "b", "a", "b"]}
    write(tmp_path / "photos.parquet", range(4), split=split, **texts)
    found = [(r.class_name, r.split, r.group, r.text) for r in Folder(tmp_path).records()]
    assert found == [
        ("a", "train", "p", "red"),
        ("b", "train", "p", ""),
        ("a", "validation", "q", ""),
        ("b", "test", "r", "pale"),
    ]


def test_rows_without_a_picture_are_rejects_with_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "photos.parquet"
    write(path, range(3), image=[{"bytes": picture(1), "path": "1"}, {"bytes": None, "path": "2.png"}, None])
    frames, kept, reasons = load_square_images([f"{path}#{row}" for row in (0, 1, 2, 99)], 4)
    assert (len(frames), kept) == (1, [0])
    assert "no image bytes" in reasons[1] and "no image bytes" in reasons[2] and "damaged" in reasons[3]


def test_a_file_that_is_gone_or_damaged_since_is_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "photos.parquet"
    write(path, range(3))
    assert load_square_image(f"{path}#1", 4)[0, 0, 0] == 1
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ImageDecodeError, match="Parquet file is damaged"):
        load_square_image(f"{path}#1", 4)
    path.unlink()
    with pytest.raises(ImageDecodeError, match="cannot be read: No such file"):
        load_square_image(f"{path}#1", 4)


def test_a_changed_file_is_another_dataset(tmp_path: Path) -> None:
    write(tmp_path / "photos.parquet", range(4))
    before = Folder(tmp_path).signature()
    assert Folder(tmp_path).signature() == before
    write(tmp_path / "photos.parquet", range(1, 5))
    assert Folder(tmp_path).signature() != before


def test_ingest_takes_pictures_and_texts_from_the_rows(tmp_path: Path) -> None:
    write(tmp_path / "photos.parquet", range(2), text=["a red lesion", ""])
    records = Folder(tmp_path, validation_share=0, test_share=0).records()
    rows = pa.table(
        {name: [getattr(r, name) for r in records] for name in ("image_id", "label", "split", "group", "path", "text")}
    )
    done = _CheckImages(False)(rows).to_pylist()
    assert [(row["text"], row["width"], row["height"], row["reject"]) for row in done] == [
        ("a red lesion", 6, 4, None),
        ("", 6, 4, None),
    ]
    images = count_images(load_config(None, ["data.source=folder", f"data.root={tmp_path}"]), None)
    assert (images.count, images.pixels) == (2, 24)


SHARDS = {
    "as the hub converts": ("default/train/0000.parquet", "default/test/0000.parquet"),
    "partial": ("default/partial-train/0000.parquet", "default/partial-test/0000.parquet"),
    "prefixed": ("derm_train_0.parquet", "derm_test_0.parquet"),
    "capitals": ("Training.parquet", "Eval.parquet"),
    "folders": ("data/train/part-0.parquet", "data/test/part-0.parquet"),
}


@pytest.mark.parametrize("names", SHARDS.values(), ids=SHARDS)
def test_splits_are_in_names_of_files_or_folders(names: tuple[str, str], tmp_path: Path) -> None:
    for place, name in enumerate(names):
        write(tmp_path / name, range(4 * place, 4 * place + 4))
    splits = {record.image_id.rpartition("/")[0]: record.split for record in Folder(tmp_path).records()}
    assert splits == {
        name.removesuffix(".parquet"): split for name, split in zip(names, ("train", "test"), strict=True)
    }


@pytest.mark.parametrize("names", [None, ["polyp", "normal"]], ids=["numbers", "names"])
def test_rows_of_the_label_minus_one_are_counted_and_no_class(names: list[str] | None, tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", range(6), names=names, label=[0, 1, 0, -1, 1, None])
    write(tmp_path / "test.parquet", range(6, 10), names=names, label=[-1] * 4)
    source = Folder(tmp_path, validation_share=0, test_share=0)
    assert [record.image_id for record in source.records()] == [f"train/{row}" for row in (0, 1, 2, 4)]
    assert source.class_names == tuple(sorted(names or ("0", "1")))
    assert source.notes()[-1] == "6 rows without a label are left out."


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("train.parquet", "more.parquet"), "1 Parquet file (more) beside the splits train"),
        (
            ("full/train/0.parquet", "small/train/0.parquet"),
            r"Parquet files in 2 folders \(full, small\). Fix: set data.root",
        ),
    ],
)
def test_files_whose_part_in_the_dataset_is_unclear(names: tuple[str, str], words: str, tmp_path: Path) -> None:
    for name in names:
        write(tmp_path / name, range(2))
    with pytest.raises(DataError, match=words.replace("(more)", r"\(more\)")):
        Folder(tmp_path).records()
