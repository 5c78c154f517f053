"""Decoding of uploaded images."""

import numpy as np
from numpy.typing import NDArray

from serve.errors import ApiError
from vapray.data.decode import decode, to_frame
from vapray.errors import BackendError, BadImage

__all__ = ["decode_square"]

MAX_PIXELS = 25_000_000
"""Size of a photograph; memory has to hold several."""


def decode_square(data: bytes, side: int, where: str = "image") -> NDArray[np.uint8]:
    """Decode an image file and crop its central square to uint8 [side, side, 3].

    Raises:
        ApiError: 400 with the reason; the message begins with ``where``.
    """
    try:
        return to_frame(decode(data, max_pixels=MAX_PIXELS), side)
    except (BadImage, BackendError) as error:
        raise ApiError(400, f"{where}: {error}. Send a PNG or JPEG file.", "invalid_image", where) from None
