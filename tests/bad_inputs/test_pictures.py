"""Bad pictures: each is a reject with its reason, and nothing of a DICOM header gets out.

Images of 16 bits, floats, CMYK and palettes are good ones: ``tests/data/test_hostile_images.py``.
"""

import random
import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGLossless, JPEGLSLossless

from tests.data.image_bytes import PNG_SIGNATURE, encode, noise, png_chunk
from vapray.data.decode import decode
from vapray.data.image_loading import load_square_images
from vapray.errors import ImageDecodeError

from .dicom_files import PERSON, RAMP, make_dicom
from .refusal import BACKEND, DATA, refused


def claim_size(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = (png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(b"\0" * 64)), png_chunk(b"IEND", b""))
    return PNG_SIGNATURE + b"".join(body)


def animate(kind: str) -> bytes:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    return encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)


JPEG, PNG = encode(noise(), "JPEG"), encode(noise())
PICTURES = {
    "zero bytes": (b"", "zero bytes"),
    "HTML named .png": (
        b"<!DOCTYPE html><html>404</html>",
        "not an image of a supported format: an HTML page; download the file again",
    ),
    "zeros": (b"\0" * 200, "not an image: only zeros; copy the file again"),
    "postscript": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "not an image, or cut off in its header: starts with b'%!PS-Adobe-3.0 E'; expected DICOM, JPEG, PNG",
    ),
    "half a JPEG": (JPEG[: len(JPEG) // 2], "damaged or cut short"),
    "half a PNG": (PNG[: len(PNG) // 2], "damaged or cut short"),
    "header only": (PNG[:40], "a PNG file that is cut off in its header"),
    "flipped byte": (PNG[:2000] + bytes([PNG[2000] ^ 0xFF]) + PNG[2001:], "damaged or cut short"),
    "no pixels behind the header": (claim_size(100, 100), "damaged or cut short"),
    "bomb": (claim_size(60000, 60000), "too many pixels"),
    "Pillow only warns": (claim_size(12000, 12000), "too many pixels"),
    "just too large": (claim_size(10000, 5001), "too many pixels: 10000x5001, at most 50000000 are read"),
    "animated GIF": (animate("GIF"), "animated or of several pages: 3 frames; give one image per file"),
    "animated PNG": (animate("PNG"), "3 frames"),
    "animated WebP": (animate("WEBP"), "3 frames"),
    "pages of a TIFF": (animate("TIFF"), "3 frames"),
    "not a number": (
        encode(Image.fromarray(np.full((4, 4), np.nan, np.float32)), "TIFF"),
        "values that are not finite",
    ),
}


@pytest.mark.parametrize(("data", "reason"), PICTURES.values(), ids=PICTURES)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bad_picture_is_a_reject_with_its_reason(data: bytes, reason: str, tmp_path: Path) -> None:
    assert len(data) < 100_000
    refused(DATA, lambda: decode(data), reason)
    good, bad, gone = tmp_path / "good.png", tmp_path / "bad.png", tmp_path / "gone.png"
    good.write_bytes(PNG)
    bad.write_bytes(data)
    frames, kept, reasons = load_square_images([str(bad), str(good), str(gone)], 32)
    assert (len(frames), kept, list(reasons)) == (1, [1], [0, 2])
    assert reason in reasons[0]
    assert reasons[2] == "cannot be read: No such file or directory"


IDENTIFIED = "DICOM: not marked as de-identified (expected PatientIdentityRemoved YES, and BurnedInAnnotation not YES)"
NO_DECODER = "install pylibjpeg, pylibjpeg-libjpeg and pylibjpeg-openjpeg, or store it uncompressed"
CODE_STREAM = encapsulate([b"\xff\xd8\xff\xf7 no decoder for this"])
DICOMS = {
    "not marked": (make_dicom(PatientIdentityRemoved=None), IDENTIFIED),
    "marked as identified": (make_dicom(PatientIdentityRemoved="NO"), "or set data.accept_identified_dicom=true"),
    "a name in the pixels": (make_dicom(BurnedInAnnotation="YES"), IDENTIFIED),
    "several frames": (
        make_dicom(np.stack([RAMP] * 3), NumberOfFrames=3),
        "DICOM: several frames; give one image per file",
    ),
    "a report": (make_dicom(PixelData=None), "DICOM: no pixels in it"),
    "bomb": (make_dicom(Rows=60000, Columns=60000), "DICOM: too many pixels, at most 50000000 are read"),
    "deflated": (
        make_dicom(syntax=DeflatedExplicitVRLittleEndian),
        "DICOM: deflated as a whole; store it uncompressed",
    ),
    "JPEG-LS without its codec": (make_dicom(syntax=JPEGLSLossless, PixelData=CODE_STREAM), NO_DECODER),
    "lossless JPEG without its codec": (make_dicom(syntax=JPEGLossless, PixelData=CODE_STREAM), NO_DECODER),
    "half": (make_dicom()[:-1000], "DICOM: pixel data that are cut short, damaged, or not as the header describes"),
}


@pytest.mark.parametrize(("data", "reason"), DICOMS.values(), ids=DICOMS)
def test_a_bad_dicom_file_is_a_reject_with_its_reason(data: bytes, reason: str) -> None:
    assert PERSON not in refused(DATA, lambda: decode(data), reason)


def test_whatever_is_damaged_no_word_of_a_header_gets_out(capfd, caplog) -> None:
    whole, draw = make_dicom(), random.Random(0)
    refusals = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(150):
            data = bytearray(whole)
            for _ in range(3):
                data[draw.randrange(132, 700)] = draw.randrange(256)
            try:
                decode(bytes(data), accept_identified=True)
            except ImageDecodeError as error:
                refusals.append(error)
    assert len(refusals) > 20
    assert not any(part in str(error) for error in refusals for part in PERSON.split("^"))
    assert all(error.__cause__ is None for error in refusals)  # --debug would print it
    assert not caught
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_without_pydicom_the_error_says_what_to_install(monkeypatch) -> None:
    data = make_dicom()
    monkeypatch.setitem(sys.modules, "pydicom", None)
    refused(
        BACKEND, lambda: decode(data), "DICOM files need pydicom, which is not installed. Fix: install vapray[dicom]."
    )
