"""Pictures that clients send: decoded in full, or refused with a reason."""

import numpy as np
from numpy.typing import NDArray

from serve.errors import ApiError
from vapray.data.decode import decode, to_frame
from vapray.errors import BackendError, BadImage

__all__ = ["decode_square"]

MAX_PIXELS = 25_000_000
"""A camera's picture; several have to fit into memory at a time."""


def decode_square(data: bytes, side: int, where: str = "image") -> NDArray[np.uint8]:
    """The centred square of a picture file as uint8 [side, side, 3].

    Raises:
        ApiError: 400 with the reason, which begins with ``where``.
    """
    try:
        return to_frame(decode(data, max_pixels=MAX_PIXELS), side)
    except (BadImage, BackendError) as error:
        raise ApiError(
            400, f"{where}: {error}. Send PNG, JPEG or another picture file.", "invalid_image", where
        ) from None
