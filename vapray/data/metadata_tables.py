"""Tables ``metadata.csv`` and ``metadata.jsonl`` of a folder, of its split folders or of its class folders.

File names are relative to the table's folder, as in Hugging Face's image folders. Without a column label, the folder
next to the image is its label; without a column split, the split folders above the images are the splits.
"""

import json
import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from vapray.data.class_folders import is_generic_name, is_mask_folder
from vapray.data.file_tree import FileTree
from vapray.data.label_tables import (
    Row,
    missing_columns,
    raise_problems,
    read_rows,
    read_text,
    summarize_names,
)
from vapray.data.reading import COLUMNS, SPELLINGS, Reading, named_columns, same_columns
from vapray.data.split_names import is_split_name, splits_of_names
from vapray.errors import DataError

__all__ = ["TABLE_NAMES", "find_metadata", "read_metadata"]

TABLE_NAMES = ("metadata.csv", "metadata.jsonl")
METADATA = re.compile(r"(?:^|/)metadata(?:\.[^./]*)?$", re.IGNORECASE)
SAMPLES = {"sample_id", "arm", "class", "caption"}
"""Columns of the table that stage ``sample`` writes beside its images."""
ORIGIN_OF_SAMPLES = {"training_licence": "licence", "training_source": "source"}
"""Further columns of it, and the columns in which they are read."""


def find_metadata(tree: FileTree) -> list[str]:
    """List the metadata tables of a folder.

    Raises:
        DataError: a table of another format, two tables in one folder, or a table below the folder of another.
    """
    names = [path for path in tree.files if METADATA.search(path)]
    if unread := [name for name in names if posixpath.basename(name) not in TABLE_NAMES]:
        found = summarize_names(unread, "table")
        raise DataError(f"{tree.root}: {found} not read. Fix: save it as {' or '.join(TABLE_NAMES)}.")
    by_folder: dict[PurePosixPath, str] = {}
    for name in sorted(names, key=lambda name: name.count("/")):
        folders = PurePosixPath(name).parents
        if above := next((by_folder[folder] for folder in folders if folder in by_folder), None):
            raise DataError(f"{tree.root}: both {above} and {name} exist. Fix: keep one.")
        by_folder[folders[0]] = name
    return names


def read_metadata(tree: FileTree, tables: list[str]) -> Reading:
    """Read the rows of all tables.

    Raises:
        DataError: a table that cannot be used, images in a folder without a table beside folders with one, splits
            beside other folders.
    """
    found = Reading([], tables)
    raise_problems(tree.root, _uncovered(tree, tables))
    for name in tables:
        path = tree.root / name
        rows = read_rows(path) if path.suffix == ".csv" else _read_json_lines(path)
        raise_problems(path, missing_columns(rows, ("file_name",)))
        found.rows += _located(path, name[: name.rfind("/") + 1], rows, found)
    _add_splits(tree, found)
    return found


def _located(path: Path, folder: str, rows: list[Row], found: Reading) -> Iterator[Row]:
    """Name the columns as in ``Reading``, with file names relative to the dataset."""
    columns = {column for row in rows for column in row}
    raise_problems(path, same_columns(columns))
    others = sorted(columns.difference(COLUMNS, SPELLINGS, ("",)))
    if columns >= SAMPLES:
        rows = _samples(path, rows, found.tables)
        found.rules.append("Images of vapray: the label is column class, the text column caption.")
    elif others:
        columns_of_table = f"{folder}{path.name}: {summarize_names(others, 'column')}"
        found.notes.append(f"{columns_of_table} not read, unless data.metadata_columns names them.")
    by_folder = "label" not in columns
    if by_folder and columns.difference(COLUMNS, SPELLINGS):
        # An unknown column may be the label under another name.
        raise_problems(path, missing_columns(rows, ("label",)))
    located = [named_columns(row) | {"file_name": _join(folder, row["file_name"])} for row in rows]
    if by_folder:
        for row in located:
            row["label"] = posixpath.basename(posixpath.dirname(row["file_name"]))
        if any(_is_no_class(label) for label in {row["label"] for row in located}):
            raise_problems(path, missing_columns(rows, ("label",)))
    yield from located


def _is_no_class(label: str) -> bool:
    return not label or is_split_name(label) or is_generic_name(label)


def _samples(path: Path, rows: list[Row], tables: list[str]) -> list[Row]:
    if len(tables) > 1:
        raise DataError(f"{path}: one of several arms of images. Fix: set data.root to the folder of one arm.")
    names = {"file_name": "file_name", "class": "label", "caption": "text"} | ORIGIN_OF_SAMPLES
    return [{name: row[column] for column, name in names.items() if column in row} for row in rows]


def _join(folder: str, name: str) -> str:
    """Join a table's folder and a file name; an empty name is kept for the message about missing files."""
    return posixpath.normpath(posixpath.join(folder, name)) if name else ""


def _uncovered(tree: FileTree, tables: list[str]) -> Iterator[str]:
    """Report folders of images beside the tables' folders that have no table."""
    covered = tuple(name[: name.rfind("/") + 1] for name in tables)
    parents = {posixpath.dirname(folder[:-1]) for folder in covered if folder}
    bare = {
        _child(path, parent)
        for path in tree.files
        if parents and path in tree.images and not path.startswith(covered)
        for parent in parents
        if path.startswith(f"{parent}/" if parent else "")
    }
    if names := sorted(name for name in bare if name and not is_mask_folder(posixpath.basename(name))):
        yield (
            f"{summarize_names(names, 'folder')} of images without a table beside {', '.join(tables[:5])}; "
            "write one for each, or one for all in the folder above"
        )


def _child(path: str, parent: str) -> str:
    """Get the folder directly below ``parent`` that contains the file; empty for a file in ``parent`` itself."""
    start = len(parent) + 1 if parent else 0
    end = path.find("/", start)
    return path[:end] if end > 0 else ""


def _add_splits(tree: FileTree, found: Reading) -> None:
    """Take the splits from the first folder in which the images' paths differ, unless a column gives them."""
    folders = {posixpath.dirname(row["file_name"]) for row in found.rows}
    if any(row.get("split") for row in found.rows) or len(folders) < 2 or any(map(os.path.isabs, folders)):
        return
    common = posixpath.commonpath(folders)
    names = {folder: _child(f"{folder}/", common)[len(common) :].strip("/") or "." for folder in folders}
    splits = splits_of_names(set(names.values()), tree.root / common, "folder")
    if len(set(splits.values())) > 1:
        found.rules.append(f"The splits are those of the folders {', '.join(sorted(splits))}.")
        for row in found.rows:
            row["split"] = splits[names[posixpath.dirname(row["file_name"])]]


def _read_json_lines(path: Path) -> list[Row]:
    lines = [(number, line) for number, line in enumerate(read_text(path).splitlines(), 1) if line.strip()]
    if not lines:
        raise DataError(f"{path}: no rows; expected one JSON object per line.")
    rows = [(number, _json_object(line)) for number, line in lines]
    needed = {"file_name", "label"} if any(row and "label" in row for _, row in rows) else {"file_name"}
    raise_problems(path, _bad_lines([number for number, row in rows if not row or not needed <= row.keys()]))
    found = [(number, row) for number, row in rows if row is not None]
    raise_problems(path, _bad_cells(found))
    return [{key: _text(value) for key, value in row.items()} for _, row in found]


def _json_object(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line, object_pairs_hook=_unique)
    except (json.JSONDecodeError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any] | None:
    row = dict(pairs)
    return row if len(row) == len(pairs) else None


def _bad_lines(numbers: list[int]) -> Iterator[str]:
    if numbers:
        found = summarize_names(numbers, "line")
        yield f"{found} not a JSON object with file_name and label; write one on each, no key twice"


def _bad_cells(rows: list[tuple[int, dict[str, Any]]]) -> Iterator[str]:
    """Report values that are neither text nor a whole number in the columns that are read."""
    for column in (*COLUMNS, *SPELLINGS):
        bad = [f"line {number}: {row[column]!r}" for number, row in rows if not _is_plain(row.get(column))]
        if bad:
            yield f"{summarize_names(bad, column)} neither text nor a whole number; write the {column} as text"


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()
