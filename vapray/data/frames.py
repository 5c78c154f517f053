"""Picture files to the square frames that everything else sees."""

from collections.abc import Sequence

import fsspec
import numpy as np
from numpy.typing import NDArray

from vapray.data.decode import decode, to_frame
from vapray.data.parquet_images import read_picture_of_row
from vapray.errors import BadImage

__all__ = ["read_frame", "read_frames"]


def read_frame(path: str, side: int) -> NDArray[np.uint8]:
    """One picture file of the table ``images`` as a frame uint8 [side, side, 3].

    DICOM is not asked again whether it is de-identified: what ``ingest`` let in stays in.

    Raises:
        BadImage: the file is missing or cannot be decoded in full.
    """
    return to_frame(decode(read_bytes(path), accept_identified=True), side)


def read_bytes(path: str) -> bytes:
    """The bytes of a picture file, or of a picture in a Parquet file; BadImage when they cannot be read."""
    if (inside := read_picture_of_row(path)) is not None:
        return inside
    try:
        with fsspec.open(path, "rb") as file:
            return bytes(file.read())
    except OSError as error:
        raise BadImage(f"cannot be read: {error.strerror or type(error).__name__}") from None


def read_frames(paths: Sequence[str], side: int) -> tuple[NDArray[np.uint8], list[int], dict[int, str]]:
    """Many picture files.

    Returns:
        frames uint8 [B, side, side, 3], the positions in ``paths`` they belong to, and the reason at each other one.
    """
    frames, kept, reasons = [], [], {}
    for position, path in enumerate(paths):
        try:
            frames.append(read_frame(path, side))
            kept.append(position)
        except BadImage as error:
            reasons[position] = str(error)
    stack = np.stack(frames) if frames else np.zeros((0, side, side, 3), np.uint8)
    return stack, kept, reasons
