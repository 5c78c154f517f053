"""Images of a folder as rows of texts, from metadata tables, HAM10000's table, Parquet files or class folders."""

import posixpath
import re
from collections import defaultdict

from vapray.data.class_folders import read_class_folders
from vapray.data.file_tree import FileTree
from vapray.data.label_tables import Row, missing_columns, other_columns, raise_problems, read_rows, summarize_names
from vapray.data.metadata_tables import find_metadata, read_metadata
from vapray.data.parquet_images import find_parquet, read_parquet_rows
from vapray.data.reading import Reading, named_columns
from vapray.data.split_names import FIRST_NAMES, describe_splits, split_of, splits_of_names
from vapray.errors import DataError

__all__ = ["read_folder"]

HAM10000 = "/ham10000_metadata.csv"
"""End of the path of HAM10000's table, as its distributors name it, in lower case."""


def read_folder(tree: FileTree) -> Reading:
    """Read file_name and label of each image, and text, group and split where known.

    Raises:
        DataError: no images, a table that cannot be used, folders whose meaning is not clear.
    """
    if tables := find_metadata(tree):
        return read_metadata(tree, tables)
    if table := next((name for name in tree.files if f"/{name}".lower().endswith(HAM10000)), None):
        return _read_ham10000(tree, table)
    if files := find_parquet(tree):
        return _read_parquet(tree, files)
    return read_class_folders(tree)


def _read_ham10000(tree: FileTree, table: str) -> Reading:
    """Read HAM10000's own table: the label is dx, the group lesion_id; images are in any folder."""
    rows = read_rows(tree.root / table)
    raise_problems(tree.root / table, missing_columns(rows, ("image_id", "dx", "lesion_id")))
    files = defaultdict(list)
    for path in sorted(tree.images):
        files[posixpath.splitext(posixpath.basename(path))[0]].append(path)
    ids = {row["image_id"] for row in rows}
    named = tree.one_file_each({name: paths for name, paths in files.items() if name in ids})
    return Reading(
        [
            {
                "file_name": named.get(row["image_id"], f"{row['image_id']}.jpg"),
                "label": row["dx"],
                "group": row["lesion_id"],
                "licence": "CC-BY-NC-4.0",
                "source": "HAM10000",
            }
            | named_columns(other_columns(row, ("image_id", "dx", "lesion_id")))
            for row in rows
        ],
        [table],
        rules=[f"{table}: the label is column dx, the group column lesion_id."],
    )


def _read_parquet(tree: FileTree, files: list[str]) -> Reading:
    folders = {_configuration(name) for name in files}
    if len(folders) > 1:
        found = summarize_names(sorted(folders), "folder")
        raise DataError(f"{tree.root}: Parquet files in {found}. Fix: set data.root to one of them.")
    # A single file is often named train although there is no held-out split.
    words = {name: _split_word(name) for name in files}
    splits = splits_of_names(set(words.values()), tree.root, "Parquet file", strict=False)
    held_out = len(set(splits.values())) > 1
    rows: list[Row] = []
    for name in files:
        split = splits[words[name]] if held_out else ""
        rows += ({"split": split} | row for row in read_parquet_rows(tree.root, tree.root / name))
    labelled = [row for row in rows if row["label"]]
    if not labelled:
        raise DataError(f"{tree.root}: no row of {summarize_names(files, 'Parquet file')} has a label. Fix: add them.")
    new = {word: split for word, split in splits.items() if re.split(r"[-_.]", word)[0] not in FIRST_NAMES}
    rules = describe_splits(new) if held_out else []
    if len(labelled) < len(rows):
        rules.append(f"{len(rows) - len(labelled):,} rows without a label are left out.")
    return Reading(labelled, files, rules=rules)


def _configuration(name: str) -> str:
    """Get the folder of a Parquet file without the folders of splits and ``data``."""
    folders = [part for part in name.split("/")[:-1] if part != "data" and not split_of(part)]
    return "/".join(folders) or "."


def _split_word(name: str) -> str:
    """Get the part of a path that names the split: the file's stem or the nearest folder; the stem if none does."""
    folders, _, file = name.rpartition("/")
    stem = posixpath.splitext(file)[0]
    return next((part for part in (stem, *reversed(folders.split("/"))) if split_of(part)), stem)
