"""What a data set is to the rest of vapray: a list of records, class names, and a signature."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vapray.errors import DataError

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class ImageRecord:
    """One labelled picture, not yet decoded.

    Attributes:
        image_id: unique in its source.
        class_name: the class in the source's own words.
        label: the class's index in the source's ``class_names``.
        split: one of ``SPLITS``.
        group: lesion or patient; where unknown, the picture is its own group.
        path: absolute path of the file; of a picture in a Parquet file, that file and its row: ``a.parquet#7``.
        text: the data set's own caption, where it brings one.
    """

    image_id: str
    class_name: str
    label: int
    split: str
    group: str
    path: str
    text: str = ""


class ImageSource(Protocol):
    """A data set on disk. Building one reads nothing but the names of its folders."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in label order."""
        ...

    def records(self) -> list[ImageRecord]:
        """Every picture that has a label, sorted by split and id; raises DataError."""
        ...

    def signature(self) -> str:
        """The sha256 that decides whether the ingest must rerun; see ``sign_files``."""
        ...

    def notes(self) -> list[str]:
        """What to know before trusting a result on it, a sentence or two each; reads the tables, so DataError."""
        return []

    def leaks(self) -> dict[str, str]:
        """What may lie on two sides of the split -> what to do about it; among the notes too."""
        return {}


def dataset_folder(root: str | Path, holds: str) -> Path:
    """The absolute path of ``data.root``; DataError where there is no such folder."""
    folder = Path(root).absolute()
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Give data.root the folder {holds}.")
    return folder


def in_order(records: Iterable[ImageRecord]) -> list[ImageRecord]:
    """Sorted by split (train, validation, test) and id."""
    return sorted(records, key=lambda record: (SPLITS.index(record.split), record.image_id))


def sign_files(root: Path, images: Iterable[Path], tables: Iterable[Path]) -> str:
    """The sha256 over sorted (relative path, size, mtime in ns) of the images and the tables' bytes.

    Pictures are not read: a data set of 100,000 files is signed in seconds.
    """
    digest = hashlib.sha256()
    for path in sorted(images):
        status = path.stat()
        digest.update(f"{path.relative_to(root).as_posix()}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    for path in sorted(tables):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
