"""Any folder of pictures: class subfolders, or a table that names them.

    root/CLASS/picture.jpg                               classes are the subfolders' names
    root/{train,validation,test}/CLASS/picture.jpg       the same with given splits
    root/metadata.csv or metadata.jsonl                  file_name, label, and optionally text, group, split

Pictures must lie inside root: ``..``, absolute names and links that lead out of it are refused.
Without given splits, whole groups are dealt to train, validation and test.
"""

import json
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from vapray.data.label_tables import Row, duplicates, list_first, missing_columns, read_rows, read_text, refuse
from vapray.data.picture_files import is_picture
from vapray.data.records import SPLITS, ImageRecord, ImageSource, dataset_folder, in_order, sign_files
from vapray.data.splits import crossing_groups, split_by_group
from vapray.errors import DataError

TABLES = ("metadata.csv", "metadata.jsonl")
SPLIT_NAMES = {name: name for name in SPLITS} | {
    "training": "train",
    "val": "validation",
    "valid": "validation",
}


class Folder(ImageSource):
    """An ImageSource over class subfolders or a metadata table.

    Args:
        root: the folder.
        validation_share: share of the images, by group, to validate on where no split is given.
        test_share: the same to test on.
        seed: of that split.

    Raises:
        DataError: no such folder, no pictures, a table that cannot be used (here, or in ``records``).
    """

    def __init__(
        self, root: str | Path, *, validation_share: float = 0.1, test_share: float = 0.2, seed: int = 0
    ) -> None:
        """Look for the folder and its table."""
        self.root = dataset_folder(root, "that holds the pictures")
        self.validation_share, self.test_share, self.seed = validation_share, test_share, seed
        self._table = _find_table(self.root)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The labels that occur, sorted."""
        return tuple(sorted({row["label"] for row in self._rows}))

    def records(self) -> list[ImageRecord]:
        """Every named picture, sorted by split (train, validation, test) and id.

        Raises:
            DataError: pictures missing, empty labels, unknown splits, duplicate ids, names that lead
                out of the folder, groups on two sides of a split: all that is wrong in one error.
        """
        rows = self._rows
        class_names = tuple(sorted({row["label"] for row in rows}))
        records = [self._to_record(row, class_names) for row in rows]
        if not rows[0].get("split"):
            records = split_by_group(
                records, validation_share=self.validation_share, test_share=self.test_share, seed=self.seed
            )
        return in_order(records)

    def signature(self) -> str:
        """The sha256 over names, sizes and times of the pictures and over the table's bytes."""
        images = [self.root / row["file_name"] for row in self._rows]
        return sign_files(self.root, images, [self._table] if self._table else [])

    def _to_record(self, row: Row, class_names: tuple[str, ...]) -> ImageRecord:
        image_id = _to_id(row["file_name"])
        return ImageRecord(
            image_id=image_id,
            class_name=row["label"],
            label=class_names.index(row["label"]),
            split=SPLIT_NAMES[row.get("split") or "train"],
            group=_group(row),
            path=str(self.root / row["file_name"]),
            text=row.get("text", ""),
        )

    @cached_property
    def _rows(self) -> list[Row]:
        rows = _read_table(self._table) if self._table else _walk_classes(self.root)
        refuse(self._table or self.root, _complaints(self.root, rows))
        return rows


def _find_table(root: Path) -> Path | None:
    like_one = sorted(path for path in root.iterdir() if path.stem.lower() == "metadata" and path.is_file())
    unread = [path.name for path in like_one if path.name not in TABLES]
    if unread:
        raise DataError(f"{root}: {list_first(unread, 'table')} not read; save it as {' or '.join(TABLES)}.")
    if len(like_one) > 1:
        raise DataError(f"{root}: both {' and '.join(TABLES)}; keep one.")
    return like_one[0] if like_one else None


def _read_table(path: Path) -> list[Row]:
    rows = read_rows(path) if path.suffix == ".csv" else _read_json_lines(path)
    refuse(path, missing_columns(rows, ("file_name", "label")))
    return rows


def _read_json_lines(path: Path) -> list[Row]:
    lines = [(number, line) for number, line in enumerate(read_text(path).splitlines(), 1) if line.strip()]
    if not lines:
        raise DataError(f"{path}: no rows; expected one JSON object per line.")
    rows = [(number, _json_object(line)) for number, line in lines]
    refuse(path, _bad_lines([number for number, row in rows if row is None]))
    return [{key: "" if value is None else str(value) for key, value in row.items()} for _, row in rows if row]


def _json_object(line: str) -> dict[str, object] | None:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        return None
    return row if isinstance(row, dict) and {"file_name", "label"} <= row.keys() else None


def _bad_lines(numbers: list[int]) -> Iterator[str]:
    if numbers:
        yield f"{list_first(numbers, 'line')} not a JSON object with file_name and label; write one on each"


def _walk_classes(root: Path) -> list[Row]:
    """Rows from the folder tree: ``CLASS/...`` or ``split/CLASS/...``; hidden folders are left out."""
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    if folders and all(folder.name in SPLIT_NAMES for folder in folders):
        pairs = [(folder.name, inner) for folder in folders for inner in sorted(folder.iterdir()) if inner.is_dir()]
    else:
        pairs = [("", folder) for folder in folders]
    rows = [
        {"file_name": path.relative_to(root).as_posix(), "label": folder.name, "split": split}
        for split, folder in pairs
        for path in sorted(folder.rglob("*"))
        if is_picture(path)
    ]
    if not rows:
        raise DataError(f"{root}: no pictures; expected {' or '.join(TABLES)}, or class subfolders of pictures.")
    return rows


def _leads_out(root: Path, name: str) -> bool:
    """Whether the name, or a link on its way, leaves the folder."""
    return "\0" in name or not Path(os.path.realpath(root / name)).is_relative_to(os.path.realpath(root))


def _complaints(root: Path, rows: list[Row]) -> Iterator[str]:
    names = [row["file_name"] for row in rows]
    outside = {name for name in names if _leads_out(root, name)}
    if outside:
        yield f"{list_first(sorted(outside), 'file name')} outside of {root}; copy the files into it"
    missing = [name for name in names if name not in outside and not os.path.isfile(root / name)]
    if missing:
        yield f"{list_first(missing, 'file')} not found in {root}; copy them there, or take their rows out"
    unlabelled = [row["file_name"] for row in rows if not row["label"]]
    if unlabelled:
        yield f"{list_first(unlabelled, 'row')} without a label; fill it in, or take the rows out"
    yield from duplicates(map(_to_id, names))
    yield from _split_complaints(rows)


def _split_complaints(rows: list[Row]) -> Iterator[str]:
    splits = [row.get("split", "") for row in rows]
    unknown = sorted({split for split in splits if split and split not in SPLIT_NAMES})
    if unknown:
        yield f"{list_first(unknown, 'unknown split')}; accepted: {', '.join(SPLIT_NAMES)}"
    elif any(splits) and not all(splits):
        yield f"{splits.count('')} of {len(splits)} rows have no split; give all or none"
    else:
        yield from crossing_groups((_group(row), SPLIT_NAMES[row.get("split") or "train"]) for row in rows)


def _group(row: Row) -> str:
    return row.get("group") or _to_id(row["file_name"])


def _to_id(file_name: str) -> str:
    path = Path(file_name)
    return (path.parent / path.stem).as_posix()
