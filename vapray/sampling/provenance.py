"""Provenance of synthetic images, in PNG text chunks."""

import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

__all__ = ["encode_png", "read_provenance"]

NOTICE = "Synthetic image made by vapray. Not for clinical use."


def encode_png(image: NDArray[np.uint8], provenance: Mapping[str, str]) -> bytes:
    """Encode an image uint8 [H, W, 3] as PNG, with ``Synthetic`` and every entry of ``provenance`` as text chunks."""
    chunks = PngInfo()
    chunks.add_text("Synthetic", NOTICE)
    for name, value in provenance.items():
        chunks.add_itxt(name, value)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", pnginfo=chunks)
    return buffer.getvalue()


def read_provenance(png: bytes) -> dict[str, str]:
    """Read the text chunks of a PNG."""
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        return {str(name): str(value) for name, value in getattr(image, "text", {}).items()}
