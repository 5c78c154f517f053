"""Completeness of JPEG files.

libjpeg replaces missing image data by grey and only warns, so Pillow accepts half a file that ends in an end marker. A
scan is complete if its pixels do not depend on the bytes behind it.
"""

import io

import numpy as np
from PIL import Image

from vapray.data.jpeg_layout import END_MARKER, PROGRESSIVE, cut_short, read_layout
from vapray.errors import ImageDecodeError

__all__ = ["check_jpeg", "explain_jpeg", "refuse_incomplete_jpeg"]

HUFFMAN_FRAMES = (0xC0, 0xC1, PROGRESSIVE)
PADDING = b"\xfe" * 8
"""Bytes behind a scan, as many as the decoder's bit buffer reads ahead. Fewer missing bytes are not found."""
LONG_ZEROS = 64


def check_jpeg(data: bytes) -> bytes:
    """Return the file in a form in which Pillow refuses missing image data; the pixels are the same.

    The end marker of a file with one scan is replaced by PADDING: the decoder then asks for more bytes where image
    data is missing. Files with several scans are decoded twice, with different bytes behind the last scan. Arithmetic
    and lossless coding are returned unchanged.

    Args:
        data: bytes of the complete file; bytes behind the first image are dropped.

    Raises:
        ImageDecodeError: no end marker, scans missing, image data missing or replaced by zeros.
    """
    layout = read_layout(data)
    if layout.frame not in HUFFMAN_FRAMES:
        return data
    if problem := layout.problem():
        raise cut_short(problem)
    image, single = data[: layout.end], len(layout.scans) == 1
    if not single and not _is_complete(image, single):
        raise cut_short("the last scan of the JPEG ends early")
    if _is_filled_with_zeros(image, single):
        raise cut_short("zeros replace the rest of the JPEG")
    return image + (PADDING if single else END_MARKER)


def refuse_incomplete_jpeg(data: bytes) -> None:
    """Refuse a JPEG that another decoder than Pillow will read; kinds that Pillow does not read are passed over.

    Raises:
        ImageDecodeError: as ``check_jpeg``.
        OSError: image data missing.
    """
    try:
        image = Image.open(io.BytesIO(check_jpeg(data)), formats=["JPEG"])
    except Image.UnidentifiedImageError:
        return
    image.load()


def explain_jpeg(data: bytes) -> str:
    """Explain why a JPEG file is not opened: cut off, or of an unsupported kind."""
    try:
        bits = read_layout(data).bits
    except ImageDecodeError as error:
        return str(error)
    if bits != 8:
        return f"a JPEG of {bits} bits per sample, which is not supported; save it as 16-bit PNG"
    return "a JPEG of an unsupported kind, or with a damaged header; save it as baseline JPEG or PNG"


def _is_filled_with_zeros(image: bytes, single: bool) -> bool:
    """Return True if pixels need zeros at the end of the scan, but not all of them.

    An image can need all its zeros, and a camera can append zeros that no pixel needs. Neither is damage.
    """
    core = image.rstrip(b"\0")
    return (
        len(image) - len(core) > LONG_ZEROS
        and not _is_complete(core + bytes(8), single)
        and _is_complete(image[:-LONG_ZEROS], single)
    )


def _is_complete(image: bytes, single: bool) -> bool:
    try:
        if single:
            _load(image + PADDING)
            return True
        one, other = (_load(image + byte * 64 + END_MARKER) for byte in (b"\xfe", b"\x00"))
    except OSError:
        return False
    return np.array_equal(one, other)


def _load(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        return np.asarray(image)
