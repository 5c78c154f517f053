"""Images of a folder as rows of texts, from metadata.csv, metadata.jsonl, Parquet files or class subfolders."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from vapray.data.label_tables import Row, list_first, missing_columns, read_rows, read_text, refuse
from vapray.data.parquet_images import find_parquet, read_parquet_rows
from vapray.data.picture_files import is_picture
from vapray.data.records import SPLITS
from vapray.errors import DataError

__all__ = ["SPLIT_NAMES", "find_table", "read_folder"]

TABLES = ("metadata.csv", "metadata.jsonl")
SPLIT_NAMES = {name: name for name in SPLITS} | {
    "training": "train",
    "val": "validation",
    "valid": "validation",
}


def find_table(root: Path) -> Path | None:
    """Find metadata.csv or metadata.jsonl; DataError if both exist, or a table of another format."""
    like_one = sorted(path for path in root.iterdir() if path.stem.lower() == "metadata" and path.is_file())
    unread = [path.name for path in like_one if path.name not in TABLES]
    if unread:
        raise DataError(f"{root}: {list_first(unread, 'table')} not read. Fix: save it as {' or '.join(TABLES)}.")
    if len(like_one) > 1:
        raise DataError(f"{root}: both {' and '.join(TABLES)} exist. Fix: keep one.")
    return like_one[0] if like_one else None


def read_folder(root: Path, table: Path | None) -> list[Row]:
    """Read file_name and label of each image, and text, group and split where known."""
    if table is None:
        files = find_parquet(root)
        return _read_parquet(root, files) if files else _walk_classes(root)
    rows = read_rows(table) if table.suffix == ".csv" else _read_json_lines(table)
    refuse(table, missing_columns(rows, ("file_name", "label")))
    return rows


def _read_parquet(root: Path, files: list[Path]) -> list[Row]:
    rows = {path: read_parquet_rows(root, path) for path in files}
    named = {path: SPLIT_NAMES.get(re.split(r"[-_.]", path.name)[0], "") for path in files}
    # A single file is often named train although there is no held-out split.
    use_names = all(named.values()) and len(set(named.values())) > 1
    return [{"split": named[path] if use_names else ""} | row for path in files for row in rows[path]]


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
    """List rows from the folder tree ``CLASS/...`` or ``split/CLASS/...``; hidden folders are left out."""
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
        raise DataError(f"{root}: no images; expected {' or '.join(TABLES)}, or class subfolders of images.")
    return rows
