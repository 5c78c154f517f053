"""Uploaded image files as one Parquet file on local disk, so that no process holds all of them."""

import hashlib
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

import pyarrow as pa
import pyarrow.parquet as pq

from vapray.store.parquet import read_row_groups

__all__ = ["ImageWriter", "UploadedImages", "read_images"]

GROUP_BYTES = 8 * 2**20
"""Image bytes of a row group above which it is written."""
GROUP_IMAGES = 512
SCHEMA = pa.schema([("picture", pa.binary())])


@dataclass(frozen=True)
class UploadedImages:
    """Complete file of image files, in the order of their upload."""

    path: Path = field(compare=False)
    count: int
    sha256: str
    """Hash of the images and their order."""


class ImageWriter:
    """Writer of image files.

    Args:
        path: New file.
    """

    def __init__(self, path: Path) -> None:
        self.count = 0
        self._path, self._digest = path, hashlib.sha256()
        self._pending: list[bytes] = []
        self._file = pq.ParquetWriter(path, SCHEMA, compression="none", write_page_checksum=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def is_full(self) -> bool:
        """True if ``flush`` is due."""
        return len(self._pending) >= GROUP_IMAGES or sum(map(len, self._pending)) >= GROUP_BYTES

    def add(self, image: bytes) -> None:
        """Add an image file, in memory."""
        self._digest.update(hashlib.sha256(image).digest())
        self._pending.append(image)
        self.count += 1

    def flush(self) -> None:
        """Write the images in memory as a row group."""
        if self._pending:
            self._file.write_table(pa.table({"picture": pa.array(self._pending, pa.binary())}, SCHEMA))
            self._pending = []

    def finish(self) -> UploadedImages:
        """Complete the file."""
        self.flush()
        self._file.close()
        return UploadedImages(self._path, self.count, self._digest.hexdigest())


def read_images(file: IO[bytes]) -> Generator[bytes, None, None]:
    """Read image files, one row group at a time; closes the file.

    Raises:
        OSError: The file is damaged.
    """
    with file:
        for group in read_row_groups(file):
            yield from group["picture"].to_pylist()
