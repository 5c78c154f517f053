"""Bytes of image files, whole and damaged."""

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
END_MARKER = b"\xff\xd9"
"""Last bytes of a JPEG."""


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(side: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))


def ramp(top: int) -> NDArray[np.uint16]:
    """A grey ramp from 0 to ``top``, [4, 256]."""
    return np.linspace(0, top, 256).round().astype(np.uint16)[None].repeat(4, axis=0)


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(samples: NDArray[np.integer], color_type: int, *chunks: bytes) -> bytes:
    """A PNG of 8- or 16-bit samples [H, W] or [H, W, C] with further chunks behind its header."""
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 8 * samples.itemsize, color_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(samples.dtype.newbyteorder(">")).tobytes() for row in samples)
    body = (png_chunk(b"IHDR", header), *chunks, png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b""))
    return PNG_SIGNATURE + b"".join(body)


def tiff(samples: NDArray[np.integer], bits: int = 16, **tags: int | bytes) -> bytes:
    """A little-endian grey TIFF of one strip, [H, W]; ``tags`` are named ``tag_281``. 12 bits are packed."""
    height, width = samples.shape
    strip = samples.astype("<u2").tobytes()
    if bits == 12:
        first, second = samples.reshape(-1, 2).astype(np.uint32).T
        packed = (first << 12 | second).astype(">u4").view(np.uint8).reshape(-1, 4)
        strip = packed[:, 1:].tobytes()
    values: dict[int, int | bytes] = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 273: 0, 277: 1, 278: height}
    values |= {279: len(strip)} | {int(name.removeprefix("tag_")): value for name, value in tags.items()}
    end, extra, entries = 8 + 2 + 12 * len(values) + 4, b"", b""
    for tag, value in sorted(values.items()):
        if isinstance(value, bytes):
            entries += struct.pack("<HHII", tag, 2, len(value), end + len(extra))
            extra += value + b"\0" * (len(value) % 2)
        else:
            entries += struct.pack("<HHII", tag, 4, 1, value)
    strip_offset = struct.pack("<HHII", 273, 4, 1, end + len(extra))
    entries = entries.replace(struct.pack("<HHII", 273, 4, 1, 0), strip_offset)
    return b"II*\0" + struct.pack("<IH", 8, len(values)) + entries + bytes(4) + extra + strip
