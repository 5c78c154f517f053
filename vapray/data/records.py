"""Dataset interface: a list of records, class names and a signature."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from vapray.data.file_tree import FileTree
from vapray.errors import DataError

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class ImageRecord:
    """Labelled image, not yet decoded.

    Attributes:
        image_id: id, unique in its source.
        class_name: name of the class in the source.
        label: index of the class in the source's ``class_names``.
        split: one of ``SPLITS``.
        group: lesion or patient; where unknown, the image is its own group.
        path: absolute path of the file; for an image in a Parquet file, that file and its row: ``a.parquet#7``.
        text: caption from the dataset; empty if it has none.
        licence: SPDX id of the licence, or its name where it has none; empty if unknown.
        source: name of the dataset; empty if unknown.
        subject: patient or lesion that the image shows; empty if unknown.
        metadata: further columns of the dataset's table; empty texts where a value is missing.
    """

    image_id: str
    class_name: str
    label: int
    split: str
    group: str
    path: str
    text: str = ""
    licence: str = ""
    source: str = ""
    subject: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)


class ImageSource(Protocol):
    """Dataset on disk. Opening one reads only the names of its folders.

    Attributes:
        root: absolute path of the dataset's folder.
        tree: files below it.
    """

    root: Path
    tree: FileTree

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes in label order."""
        ...

    def records(self) -> list[ImageRecord]:
        """List all labelled images, sorted by split and id; raises DataError."""
        ...

    def signature(self) -> str:
        """Compute the sha256 that decides whether ingest must rerun; see ``sign_files``."""
        ...

    def tables(self) -> list[Path]:
        """List the files that decide labels, groups or splits."""
        ...

    def left_out(self) -> Mapping[str, str]:
        """Map files that are not read, relative to the folder, to the reason; others get one by their name."""
        return {}

    def notes(self) -> list[str]:
        """List caveats for results on this dataset, one or two sentences each; may raise DataError."""
        return []

    def leaks(self) -> dict[str, str]:
        """Map each possible leak between splits to its remedy; the notes contain them too."""
        return {}


def dataset_folder(root: str | Path, holds: str) -> Path:
    """Get the absolute path of ``data.root``; DataError if there is no such folder."""
    folder = Path(root).absolute()
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Fix: set data.root to the folder {holds}.")
    return folder


def in_order(records: Iterable[ImageRecord]) -> list[ImageRecord]:
    """Sort records by split (train, validation, test) and id."""
    return sorted(records, key=lambda record: (SPLITS.index(record.split), record.image_id))


def sign_files(root: Path, images: Iterable[Path | str], tables: Iterable[Path]) -> str:
    """Compute the sha256 over sorted (relative path, size, mtime in ns) of the images and the tables' bytes.

    Paths are absolute. Image contents are not read, so that a dataset of 100,000 files is signed in seconds.
    """
    digest = hashlib.sha256()
    start = len(str(root)) + 1
    for name in sorted((str(path)[start:] for path in images), key=lambda name: name.split("/")):
        status = os.stat(f"{root}/{name}")
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    for path in sorted(tables):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
