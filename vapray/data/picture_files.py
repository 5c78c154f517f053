"""Pictures by name in a folder."""

from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from vapray.data.label_tables import list_first

__all__ = ["IMAGE_SUFFIXES", "PHOTO_SUFFIXES", "is_picture", "list_pictures", "missing_pictures"]

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png")
"""What the official data sets are distributed as."""
IMAGE_SUFFIXES = (*PHOTO_SUFFIXES, ".tif", ".tiff", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".dcm")


def is_picture(path: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> bool:
    """Whether the name says so; what macOS leaves beside a file (``._name``) is none."""
    return path.suffix.lower() in suffixes and not path.name.startswith(".")


def list_pictures(folder: Path) -> dict[str, Path]:
    """Photos directly in ``folder`` by their stem; empty where there is no such folder."""
    if not folder.is_dir():
        return {}
    return {path.stem: path for path in folder.iterdir() if is_picture(path, PHOTO_SUFFIXES)}


def missing_pictures(names: Iterable[str], found: Container[str], folder: str) -> Iterator[str]:
    """Complain about names that have no photo in ``folder``, naming the first five."""
    missing = [name for name in names if name not in found]
    if missing:
        yield f"{list_first(missing, 'image')} not in {folder} as {' '.join(PHOTO_SUFFIXES)}; copy them there"
