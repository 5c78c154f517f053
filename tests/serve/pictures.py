"""Pictures as clients send them: noise, and a bomb."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


NOISE = tuple(png(np.random.default_rng(i).integers(0, 256, (48, 32, 3), dtype=np.uint8)) for i in range(12))


def bomb() -> bytes:
    """A PNG whose header claims 60000 x 60000 pixels."""
    whole = png(np.zeros((1, 1, 3), np.uint8))
    header = b"IHDR" + struct.pack(">II", 60_000, 60_000) + whole[24:29]
    return whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]
