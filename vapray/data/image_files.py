"""Image files of a folder, by name; files without a suffix by their first bytes."""

import re
from collections.abc import Container, Iterable, Iterator
from pathlib import Path, PurePath

from vapray.data.dicom import is_dicom_file
from vapray.data.label_tables import summarize_names

__all__ = ["IMAGE_SUFFIXES", "PHOTO_SUFFIXES", "image_stem", "is_image_file", "list_images", "missing_images"]

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png")
"""File name suffixes of images in the official datasets."""
DICOM_SUFFIXES = (".dcm", ".dicom", ".dic", ".ima")
IMAGE_SUFFIXES = (
    *(*PHOTO_SUFFIXES, ".jfif", ".jpe", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".pnm"),
    *DICOM_SUFFIXES,
)
MEDIA_DIRECTORY = "DICOMDIR"
"""File name of the list of DICOM files on a medium; it has no image."""


def is_image_file(path: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> bool:
    """Return True if the file name is that of an image; macOS metadata files (``._name``) are not images.

    DICOM files often have no suffix, or a UID as their name (``1.2.840.10008.7``). Where ``suffixes`` contains those of
    DICOM, files without a letter in their suffix are images if their first bytes are DICOM's.
    """
    if path.name.startswith("."):
        return False
    if _has_suffix(path):
        return path.suffix.lower() in suffixes
    return set(DICOM_SUFFIXES) <= set(suffixes) and path.name.upper() != MEDIA_DIRECTORY and is_dicom_file(path)


def image_stem(path: PurePath) -> str:
    """Get the file name without its suffix; the last number of a UID is not a suffix."""
    return path.stem if _has_suffix(path) else path.name


def _has_suffix(path: PurePath) -> bool:
    return re.search("[a-z]", path.suffix, re.IGNORECASE) is not None


def list_images(folder: Path) -> dict[str, Path]:
    """List the photos directly in ``folder`` by stem; empty if the folder does not exist."""
    if not folder.is_dir():
        return {}
    return {path.stem: path for path in folder.iterdir() if is_image_file(path, PHOTO_SUFFIXES)}


def missing_images(names: Iterable[str], found: Container[str], folder: str) -> Iterator[str]:
    """Report names without a photo in ``folder``; the message lists the first five."""
    missing = [name for name in names if name not in found]
    if missing:
        yield f"{summarize_names(missing, 'image')} not in {folder} as {' '.join(PHOTO_SUFFIXES)}; copy them there"
