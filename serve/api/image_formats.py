"""File formats of responses, made from the sampler's PNG files."""

import io
import json
from typing import Literal

from PIL import Image

__all__ = ["MEDIA_TYPES", "ImageFormat", "to_format"]

ImageFormat = Literal["png", "jpeg", "webp"]
MEDIA_TYPES: dict[ImageFormat, str] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
IMAGE_DESCRIPTION = 0x010E
FULL_COLOUR_QUALITY = 90
"""Quality from which JPEG keeps the colour of each pixel."""


def to_format(png: bytes, wanted: ImageFormat, quality: int) -> bytes:
    """Convert a PNG file and return the new one; its text chunks become JSON in the EXIF field ImageDescription.

    Args:
        png: file of the sampler.
        wanted: format.
        quality: quality of jpeg and webp, 0 to 100; webp is lossless at 100.
    """
    if wanted == "png":
        return png
    with Image.open(io.BytesIO(png)) as image:
        facts, pixels = image.text, image.convert("RGB")  # type: ignore[attr-defined]
    described, file = Image.Exif(), io.BytesIO()
    described[IMAGE_DESCRIPTION] = json.dumps(facts)
    if wanted == "jpeg":
        subsampling = "4:4:4" if quality >= FULL_COLOUR_QUALITY else "4:2:0"
        pixels.save(file, "JPEG", quality=max(1, quality), subsampling=subsampling, exif=described)
    else:
        pixels.save(file, "WEBP", quality=quality, lossless=quality == 100, exif=described)
    return file.getvalue()
