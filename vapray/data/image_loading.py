"""Reading of image files as square uint8 arrays."""

from collections.abc import Sequence

import fsspec
import numpy as np
from numpy.typing import NDArray

from vapray.data.decode import center_crop_resize, decode
from vapray.data.parquet_images import read_image_of_row
from vapray.errors import ImageDecodeError

__all__ = ["load_square_image", "load_square_images"]


def load_square_image(path: str, side: int) -> NDArray[np.uint8]:
    """Read an image file of the table ``images`` as uint8 [side, side, 3].

    DICOM files are not checked again for de-identification, since ``ingest`` has checked them.

    Raises:
        ImageDecodeError: the file is missing or cannot be decoded completely.
    """
    return center_crop_resize(decode(read_bytes(path), accept_identified=True), side)


def read_bytes(path: str) -> bytes:
    """Read the bytes of an image file, or of an image in a Parquet file; ImageDecodeError if they cannot be read."""
    if (inside := read_image_of_row(path)) is not None:
        return inside
    try:
        with fsspec.open(path, "rb") as file:
            return bytes(file.read())
    except OSError as error:
        raise ImageDecodeError(f"cannot be read: {error.strerror or type(error).__name__}") from None


def load_square_images(paths: Sequence[str], side: int) -> tuple[NDArray[np.uint8], list[int], dict[int, str]]:
    """Read several image files and skip the unreadable ones.

    Returns:
        Images uint8 [B, side, side, 3], their positions in ``paths``, and the reason for each other position.
    """
    frames, kept, reasons = [], [], {}
    for position, path in enumerate(paths):
        try:
            frames.append(load_square_image(path, side))
            kept.append(position)
        except ImageDecodeError as error:
            reasons[position] = str(error)
    stack = np.stack(frames) if frames else np.zeros((0, side, side, 3), np.uint8)
    return stack, kept, reasons
