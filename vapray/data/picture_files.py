"""Image files of a folder, by name."""

from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from vapray.data.label_tables import list_first

__all__ = ["IMAGE_SUFFIXES", "PHOTO_SUFFIXES", "is_picture", "list_pictures", "missing_pictures"]

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png")
"""File name suffixes of images in the official datasets."""
IMAGE_SUFFIXES = (*PHOTO_SUFFIXES, ".tif", ".tiff", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".dcm")


def is_picture(path: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> bool:
    """Return True if the file name is that of an image; macOS metadata files (``._name``) are not images."""
    return path.suffix.lower() in suffixes and not path.name.startswith(".")


def list_pictures(folder: Path) -> dict[str, Path]:
    """List the photos directly in ``folder`` by stem; empty if the folder does not exist."""
    if not folder.is_dir():
        return {}
    return {path.stem: path for path in folder.iterdir() if is_picture(path, PHOTO_SUFFIXES)}


def missing_pictures(names: Iterable[str], found: Container[str], folder: str) -> Iterator[str]:
    """Report names without a photo in ``folder``; the message lists the first five."""
    missing = [name for name in names if name not in found]
    if missing:
        yield f"{list_first(missing, 'image')} not in {folder} as {' '.join(PHOTO_SUFFIXES)}; copy them there"
