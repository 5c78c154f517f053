"""Files below a folder, listed by one walk without a stat per file."""

import filecmp
import mimetypes
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from vapray.data.image_files import PHOTO_SUFFIXES, is_image_file
from vapray.data.label_tables import raise_problems, summarize_names
from vapray.errors import DataError

__all__ = ["COPY", "FileTree", "is_table_name", "several_files", "suffix_of"]

SYSTEM_FOLDERS = {"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"}
SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
COPY = "copy of another file"
THUMBNAILS = {"thumbnail", "thumbnails", "thumbs"}
DOCUMENTS = {".parquet", ".xlsx", ".xls", ".ods", ".jsonl", ".ndjson", ".yaml", ".yml", ".npz", ".npy", ".mat", ".gz"}
"""Suffixes of tables and documents that ``mimetypes`` does not report as text."""


class FileTree:
    """Files of a dataset folder. The folder is read at the first access.

    Args:
        root: absolute path of the folder.

    Raises:
        DataError: a folder cannot be listed (at the first access).
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.links: set[str] = set()
        """Files that are links, relative to ``root``."""
        self.outer_links: list[str] = []
        """Links to folders outside of ``root``, relative to it; they are not followed."""
        self.unseen: dict[str, str] = {}
        """Files that no reader sees: relative path to the reason."""
        self.copies: set[str] = set()
        """Files that repeat another one, relative to ``root``."""

    @cached_property
    def files(self) -> list[str]:
        """Paths of all other files, relative to ``root`` with ``/``, sorted."""
        return sorted(self._walk())

    @cached_property
    def images(self) -> set[str]:
        """Supported images among ``files``: by suffix, and DICOM files without one by their first bytes."""
        return {path for path in self.files if is_image_file(f"{self.root}/{path}")}

    def photos(self, folders: str) -> dict[str, Path]:
        """List the photos in the folders whose path matches a regular expression, by the stems of their names.

        Raises:
            DataError: several photos of one stem.
        """
        wanted = re.compile(folders)
        found: dict[str, list[str]] = {}
        for path in self.files:
            folder, _, name = path.rpartition("/")
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in PHOTO_SUFFIXES and wanted.fullmatch(folder):
                found.setdefault(stem, []).append(path)
        return {stem: self.root / path for stem, path in self.one_file_each(found).items()}

    def one_file_each(self, files: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """Choose the first file of each id; its other files are left out, if they are copies.

        Raises:
            DataError: an id has files of different contents.
        """
        doubled = {name: paths for name, paths in files.items() if len(paths) > 1}
        raise_problems(
            self.root, several_files({name: paths for name, paths in doubled.items() if not self.are_copies(*paths)})
        )
        self.copies.update(path for paths in doubled.values() for path in paths[1:])
        return {name: paths[0] for name, paths in files.items()}

    def are_copies(self, *paths: str) -> bool:
        """Return True if the files have the same bytes; contents of different sizes are not read.

        Raises:
            DataError: a file cannot be read.
        """
        first, *others = (f"{self.root}/{path}" for path in paths)
        try:
            return all(filecmp.cmp(first, other, shallow=False) for other in others)
        except OSError as error:
            raise DataError(
                f"{error.filename or first}: cannot be read ({error.strerror}). Fix: copy the file again."
            ) from error

    def _walk(self) -> Iterator[str]:
        folders = [("", "")]
        while folders:
            folder, reason = folders.pop()
            for entry in self._entries(folder):
                path = f"{folder}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    folders.append((f"{path}/", reason or _folder_reason(entry.name)))
                elif found := reason or self._file_reason(entry, path):
                    self.unseen[path] = found
                else:
                    yield path

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(f"{self.root}/{folder}") as entries:
                return list(entries)
        except OSError as error:
            raise DataError(
                f"{self.root}/{folder}: cannot be listed ({error.strerror}). Fix: make the folder readable."
            ) from error

    def _file_reason(self, entry: os.DirEntry[str], path: str) -> str:
        """Get the reason that no reader sees a file; empty for other files."""
        name = entry.name
        if name.startswith("."):
            return "hidden"
        if not name.isascii() and not _is_utf8(name):
            return "name that is not UTF-8"
        if name.lower() in SYSTEM_FILES:
            return "file of the operating system"
        if entry.is_symlink():
            return self._link_reason(entry, path)
        return "" if entry.is_file() else "neither file nor folder"

    def _link_reason(self, entry: os.DirEntry[str], path: str) -> str:
        if entry.is_dir():
            if not Path(os.path.realpath(entry.path)).is_relative_to(os.path.realpath(self.root)):
                self.outer_links.append(path)
                return "link to a folder outside of the dataset"
            return "link to a folder of the dataset"
        if not entry.is_file():
            return "broken link"
        self.links.add(path)
        return ""


def several_files(files: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Report the ids that have several files."""
    if twice := [f"{name}: {' and '.join(sorted(paths))}" for name, paths in files.items() if len(paths) > 1]:
        yield f"{summarize_names(sorted(twice), 'id')} of several files; keep one file of each"


def is_table_name(name: str) -> bool:
    """Return True if a file name is that of a table or document, which is no image in an unsupported format."""
    kind = mimetypes.guess_type(name, strict=False)[0] or ""
    return suffix_of(name) in DOCUMENTS or kind.startswith("text/") or kind in ("application/json", "application/pdf")


def suffix_of(name: str) -> str:
    """Get the suffix in lower case with its dot; empty if there is none."""
    return os.path.splitext(name)[1].lower()


def _folder_reason(name: str) -> str:
    if name.startswith("."):
        return "hidden"
    if name.lower() in SYSTEM_FOLDERS:
        return "file of the operating system"
    return "thumbnail" if name.lower() in THUMBNAILS else ""


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
