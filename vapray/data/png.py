"""Chunks of PNG files: texts and color profiles are dropped, significant bits are read."""

import struct
import zlib
from collections.abc import Iterator

from vapray.errors import ImageDecodeError

__all__ = ["SIGNATURE", "significant_bits", "without_texts"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
UNUSED = (b"iCCP", b"tEXt", b"zTXt", b"iTXt")
ORIENTATION = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")
"""Keywords of texts that can contain the orientation."""


def without_texts(data: bytes) -> bytes:
    """Drop texts and color profiles, whose size Pillow limits, and auxiliary chunks with a wrong checksum.

    Texts that can contain the orientation are kept. A file that is cut short stays cut short.

    Raises:
        ImageDecodeError: a chunk that is needed for the pixels has a wrong checksum.
    """
    return SIGNATURE + b"".join(
        data[begin:end] for name, begin, end in _chunks(data) if _is_used(data, name, begin, end)
    )


def significant_bits(data: bytes) -> int | None:
    """Read the largest number of significant bits of a sample (chunk sBIT); None if the file does not tell it."""
    return next((max(data[begin + 8 : end - 4]) for name, begin, end in _chunks(data) if name == b"sBIT"), None)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """List names of chunks with their first byte and the byte after the last, up to IEND."""
    begin, name = len(SIGNATURE), b""
    while begin < len(data) and name != b"IEND":
        name = data[begin + 4 : begin + 8]
        end = begin + 12 + int.from_bytes(data[begin : begin + 4], "big")
        yield name, begin, end
        begin = end


def _is_used(data: bytes, name: bytes, begin: int, end: int) -> bool:
    if name in UNUSED and not data[begin + 8 : end].startswith(ORIENTATION):
        return False
    if end > len(data) or zlib.crc32(data[begin + 4 : end - 4]) == struct.unpack(">I", data[end - 4 : end])[0]:
        return True
    if name[:1].isupper():
        raise ImageDecodeError(
            f"damaged or cut short: the PNG chunk {name!r} has a wrong checksum; copy the file again"
        )
    return False
