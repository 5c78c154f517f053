"""Image files that decoders misread or misreport: each has its right pixels, or its reason."""

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tests.bad_inputs.refusal import DATA, refused
from tests.data.image_bytes import encode, noise, png, png_chunk, ramp, tiff
from vapray.data.decode import decode

WHOLE = np.arange(256)
OME = b'<?xml version="1.0"?><OME><Image><Pixels SignificantBits="12"/></Image></OME>\0'
GREY = {
    "16 bits": encode(Image.fromarray(ramp(65535))),
    "16 bits, TIFF": tiff(ramp(65535)),
    "16 bits, big endian": encode(Image.fromarray(ramp(65535).astype(">u2")), "TIFF"),
    "16 bits, white is 0": tiff(65535 - ramp(65535), tag_262=0),
    "16 bits, PGM": encode(Image.fromarray(ramp(65535)), "PPM"),
    "12 bits, PGM": b"P5 256 1 4095\n" + ramp(4095)[0].astype(">u2").tobytes(),
    "10 bits, plain PGM": b"P2 256 1 1023\n" + b" ".join(str(value).encode() for value in ramp(1023)[0]),
    "12 bits, packed": tiff(ramp(4095), bits=12),
    "12 bits, OME": tiff(ramp(4095), tag_270=OME),
    "12 bits, MaxSampleValue": tiff(ramp(4095), tag_281=4095),
    "10 bits, SMaxSampleValue": tiff(ramp(1023), tag_341=1023),
    "12 bits, sBIT": png(ramp(4095), 0, png_chunk(b"sBIT", b"\x0c")),
    "12 bits scaled to 16, sBIT": png(ramp(4095) << 4 | ramp(4095) >> 8, 0, png_chunk(b"sBIT", b"\x0c")),
    "16 bits, colors": png(ramp(65535)[..., None].repeat(3, axis=2), 2),
    "floats": encode(Image.fromarray(ramp(65535).astype(np.float32) / 65535), "TIFF"),
    "floats with negative values": encode(Image.fromarray(ramp(4000).astype(np.float32) - 1000), "TIFF"),
    "32-bit integers with negative values": encode(Image.fromarray(ramp(4000).astype(np.int32) - 1000), "TIFF"),
}


@pytest.mark.parametrize("data", GREY.values(), ids=GREY)
def test_a_ramp_goes_from_black_to_white_at_any_bit_depth(data: bytes) -> None:
    image = decode(data)
    assert image.shape[1:] == (256, 3)
    assert np.abs(image - WHOLE[None, :, None]).max() <= 1


TRANSPARENT = Image.new("P", (4, 4), 0)
TRANSPARENT.putpalette([200, 10, 30, 0, 0, 0])
TEXT = PngImagePlugin.PngInfo()
TEXT.add_text("Comment", "x" * 3_000_000, zip=True)
RED, GREEN, WHITE = (255, 0, 0), (1, 150, 2), (255, 255, 255)
SMALL_RGB = Image.new("RGB", (4, 4), GREEN)
SMALL_PNG = np.full((4, 4, 3), GREEN, np.uint8)
COLORS = {
    "long text": (encode(SMALL_RGB, pnginfo=TEXT), GREEN),
    "long ICC profile": (encode(SMALL_RGB, icc_profile=bytes(3_000_000)), GREEN),
    "ICC profile that is none": (png(SMALL_PNG, 2, png_chunk(b"iCCP", b"x\0\0no zlib")), GREEN),
    "text with a wrong checksum": (png(SMALL_PNG, 2, png_chunk(b"tEXt", b"a\0b")[:-1] + b"!"), GREEN),
    "time with a wrong checksum": (png(SMALL_PNG, 2, png_chunk(b"tIME", bytes(7))[:-1] + b"!"), GREEN),
    "palette with transparency": (encode(TRANSPARENT, transparency=0), WHITE),
    "palette": (encode(TRANSPARENT), (200, 10, 30)),
    "opaque": (encode(Image.new("RGBA", (4, 4), (*GREEN, 255))), GREEN),
    "transparent": (encode(Image.new("RGBA", (4, 4), (*GREEN, 0))), WHITE),
    "half transparent": (encode(Image.new("RGBA", (4, 4), (0, 0, 0, 128))), (127, 127, 127)),
    "BMP": (encode(SMALL_RGB, "BMP"), GREEN),
    "GIF": (encode(SMALL_RGB, "GIF"), GREEN),
    "PPM": (encode(SMALL_RGB, "PPM"), GREEN),
    "TIFF": (encode(SMALL_RGB, "TIFF"), GREEN),
    "TIFF by libtiff": (encode(SMALL_RGB, "TIFF", compression="tiff_lzw"), GREEN),
    "WebP": (encode(SMALL_RGB, "WEBP", lossless=True), GREEN),
    "grey": (encode(Image.new("L", (4, 4), 90)), (90, 90, 90)),
    "grey and alpha": (encode(Image.new("LA", (4, 4), (90, 255))), (90, 90, 90)),
    "one bit": (encode(Image.new("1", (4, 4), 1)), WHITE),
    "one bit, TIFF": (encode(Image.new("1", (4, 4), 1), "TIFF"), WHITE),
    "CMYK": (encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "TIFF"), RED),
    "CMYK as Adobe inverts it": (encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"), RED),
    "two views of a camera": (
        encode(Image.new("RGB", (64, 64), RED), "MPO", save_all=True, append_images=[Image.new("RGB", (64, 64))]),
        RED,
    ),
    "damaged EXIF data": (encode(Image.new("RGB", (16, 16), RED), "JPEG", exif=b"Exif\0\0no TIFF header"), RED),
    "16 bits, constant": (encode(Image.fromarray(np.full((4, 4), 30000, np.uint16))), (117, 117, 117)),
    "16 bits, zeros": (encode(Image.fromarray(np.zeros((4, 4), np.uint16))), (0, 0, 0)),
    "16 bits, white": (encode(Image.fromarray(np.full((4, 4), 65535, np.uint16))), WHITE),
    "mask of 12 bits": (tiff(np.full((4, 4), 4095), bits=12), WHITE),
    "16 bits, a scaled dark constant": (png(np.full((4, 4), 4096, np.uint16), 0), (16, 16, 16)),
}


@pytest.mark.parametrize(("data", "color"), COLORS.values(), ids=COLORS)
def test_a_plain_image_has_its_color(data: bytes, color: tuple[int, int, int]) -> None:
    image = decode(data)
    assert image.dtype == np.uint8 and image.shape[2] == 3
    assert np.abs(image.astype(int) - color).max() <= 2


@pytest.mark.parametrize("keyword", [b"XML:com.adobe.xmp", b"Comment"])
def test_only_texts_with_the_orientation_are_kept(keyword: bytes) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    data = png(np.zeros((4, 8, 3), np.uint8), 2, png_chunk(b"iTXt", keyword + b"\0\0\0\0\0" + xmp))
    assert decode(data).shape == ((8, 4, 3) if keyword.startswith(b"XML") else (4, 8, 3))


JPEG, PNG, WEBP = (encode(noise(), kind) for kind in ("JPEG", "PNG", "WEBP"))
DARK = "almost black: 8, 10 or 12 bits that are not scaled, or a dark image; multiply all images of the set by one"
REFUSED = {
    "12 bits in 16": (
        encode(Image.fromarray(ramp(4095))),
        f"at most 4095 of 65535, {DARK} factor (12 bits: 65535/4095)",
    ),
    "10 bits in 16": (encode(Image.fromarray(ramp(1023)), "TIFF"), f"at most 1023 of 65535, {DARK}"),
    "8 bits in 16": (encode(Image.fromarray(ramp(255))), f"at most 255 of 65535, {DARK}"),
    "12 bits in 32": (encode(Image.fromarray(ramp(4095).astype(np.int32)), "TIFF"), DARK),
    "12 bits in 16, a dark maximum": (tiff(ramp(3000), tag_281=3000), f"at most 3000 of 65535, {DARK}"),
    "12 bits in 16, constant": (png(np.full((4, 4), 1000, np.uint16), 0), f"at most 1000 of 65535, {DARK}"),
    "12-bit colors in 16": (
        png(ramp(4095)[..., None].repeat(3, axis=2), 2),
        "16-bit colors of at most 1/16 of the range",
    ),
    "12-bit colors in 16, PPM": (
        b"P6 256 1 65535\n" + ramp(4095)[0].repeat(3).astype(">u2").tobytes(),
        "16-bit colors of at most 1/16 of the range",
    ),
    "12-bit grey and alpha in 16": (
        png(np.stack([ramp(4095), ramp(0) + 65535], axis=-1), 4),
        "save all images of the set with 8 bits per sample",
    ),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer; run git lfs pull"),
    "archive": (b"PK\x03\x04" + bytes(40), "an archive; unpack it"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC, which is not supported; convert it"),
    "AVIF": (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "AVIF, which is not supported; convert it"),
    "JPEG 2000": (encode(SMALL_RGB, "JPEG2000"), "JPEG 2000, which is not supported; convert it"),
    "DICOM without preamble": (b"\x08\0\x05\0CS\x0a\0ISO_IR 100", "DICOM without its preamble"),
    "implicit DICOM without preamble": (b"\x08\0\x05\0\x0a\0\0\0ISO_IR 100", "DICOM without its preamble"),
    "big-endian DICOM without preamble": (b"\0\x08\0\x05CS\0\x0aISO_IR 100", "DICOM without its preamble"),
    "JPEG of 12 bits": (JPEG.replace(b"\x08\x00\x40\x00\x40", b"\x0c\x00\x40\x00\x40", 1), "a JPEG of 12 bits"),
    "JPEG header": (JPEG[:300], "damaged or cut short: "),
    "64-bit floats": (
        tiff(ramp(9), bits=64, tag_339=3),
        "a TIFF file that is cut off in its header, or of an",
    ),
    "PNG with a wrong checksum": (
        PNG[:-13] + bytes([PNG[-13] ^ 1]) + PNG[-12:],
        "b'IDAT' has a wrong checksum",
    ),
    "half a WebP": (WEBP[: len(WEBP) // 2], "damaged or cut short: "),
    "half a GIF": (encode(noise(), "GIF")[:2000], "damaged or cut short: "),
    "half a BMP": (encode(noise(), "BMP")[:2000], "damaged or cut short: image file is truncated"),
    "half a TIFF": (encode(noise(), "TIFF")[:2000], "damaged or cut short: image file is truncated"),
    "half a PPM": (encode(noise(), "PPM")[:2000], "damaged or cut short: image file is truncated"),
}


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED)
def test_the_reason_says_what_is_wrong_and_no_type_of_an_error(data: bytes, reason: str) -> None:
    text = refused(DATA, lambda: decode(data), reason)
    assert "Error" not in text and "object" not in text.replace("decoder object", "")
