"""Embedding of images in a page."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vapray.errors import DataError


def data_uri(image: NDArray[np.uint8]) -> str:
    """Encode an RGB image uint8 [H, W, 3] as a lossless PNG data URI.

    Raises:
        DataError: type or shape differ.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise DataError(f"report image: expected uint8 [H, W, 3], got {image.dtype} {list(image.shape)}")
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "PNG")
    return "data:image/png;base64," + base64.b64encode(encoded.getvalue()).decode("ascii")
