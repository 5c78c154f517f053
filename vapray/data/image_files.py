"""Image files of a folder, by name; files without a suffix by their first bytes."""

import os
import re
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from vapray.data.dicom import is_dicom_file
from vapray.data.label_tables import summarize_names

__all__ = ["IMAGE_SUFFIXES", "PHOTO_SUFFIXES", "image_stem", "is_image_file", "missing_images"]

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png")
"""File name suffixes of images in the official datasets."""
DICOM_SUFFIXES = (".dcm", ".dicom", ".dic", ".ima")
IMAGE_SUFFIXES = (
    *(*PHOTO_SUFFIXES, ".jfif", ".jpe", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".pnm"),
    *DICOM_SUFFIXES,
)
LETTER = re.compile("[a-z]", re.IGNORECASE)
MEDIA_DIRECTORY = "DICOMDIR"
"""File name of the list of DICOM files on a medium; it has no image."""


def is_image_file(path: str | os.PathLike[str], suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> bool:
    """Return True if the file name is that of an image; macOS metadata files (``._name``) are not images.

    DICOM files often have no suffix, or a UID as their name (``1.2.840.10008.7``). Where ``suffixes`` contains those of
    DICOM, files without a letter in their suffix are images if their first bytes are DICOM's.
    """
    name = os.path.basename(path)
    if name.startswith("."):
        return False
    if suffix := _suffix(name):
        return suffix.lower() in suffixes
    return set(DICOM_SUFFIXES) <= set(suffixes) and name.upper() != MEDIA_DIRECTORY and is_dicom_file(Path(path))


def image_stem(path: str) -> str:
    """Remove the suffix of a path; the last number of a UID is not a suffix."""
    return path.removesuffix(_suffix(path))


def _suffix(path: str) -> str:
    """Get the suffix with its dot; empty if it has no letter."""
    suffix = os.path.splitext(path)[1]
    return suffix if LETTER.search(suffix) else ""


def missing_images(names: Iterable[str], found: Container[str], folder: str) -> Iterator[str]:
    """Report names without a photo in ``folder``; the message lists the first five."""
    missing = [name for name in names if name not in found]
    if missing:
        yield f"{summarize_names(missing, 'image')} not in {folder} as {' '.join(PHOTO_SUFFIXES)}; copy them there"
