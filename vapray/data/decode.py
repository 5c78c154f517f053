"""Image decoding: bytes to uint8 RGB, and the square image that models see.

An image is decoded completely before it is accepted, since ``Image.verify`` accepts half a JPEG. White of a 16-bit
image is 65535 unless the file declares fewer bits (``bit_depth``). Float images within 0..1 are multiplied by 255,
those within 0..255 are unchanged, all others are stretched from their minimum to their maximum. DICOM is recognised by
its magic bytes, not by the file name, and read by ``dicom``.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from vapray.data.bit_depth import BitDepth, read_bit_depth
from vapray.data.dicom import decode_dicom, is_dicom
from vapray.data.jpeg import check_jpeg
from vapray.data.png import SIGNATURE, without_texts
from vapray.data.unreadable import explain_unidentified
from vapray.errors import ImageDecodeError

MAX_PIXELS = 50_000_000
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "PPM")

ImageArray = NDArray[np.uint8]


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS, accept_identified: bool = False) -> ImageArray:
    """Decode one image to upright uint8 RGB [H, W, 3].

    EXIF orientation is applied, transparency becomes white, grey, palette and CMYK become RGB.

    Args:
        data: bytes of the complete file.
        max_pixels: maximum width x height; larger images are refused by their header, before any pixel is read.
        accept_identified: also read DICOM files that are not marked as de-identified.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ImageDecodeError: empty, neither DICOM nor one of FORMATS, damaged or truncated, too large, animated or of
            several pages, with values that are not finite, not de-identified. ``str(error)`` is the reason.
        BackendError: a DICOM file, and pydicom is not installed.
    """
    if not data:
        raise ImageDecodeError("zero bytes; copy the file again")
    if is_dicom(data):
        return decode_dicom(data, max_pixels=max_pixels, accept_identified=accept_identified)
    try:
        return _decode(data, max_pixels)
    except ImageDecodeError:
        raise
    except Image.UnidentifiedImageError as error:
        raise ImageDecodeError(explain_unidentified(data, f"DICOM, {', '.join(FORMATS)}")) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageDecodeError(f"too many pixels: the header claims more than {max_pixels}") from error
    except Exception as error:
        # Errors of other types come from code that does not expect damage; their texts explain nothing.
        text = str(error) if isinstance(error, OSError | SyntaxError | ValueError) else ""
        cause = text or "the file ends early or contradicts its header"
        raise ImageDecodeError(f"damaged or cut short: {cause}; copy the file again") from error


def center_crop(image: ImageArray) -> ImageArray:
    """Crop the centred square, of side min(H, W), from an [H, W, 3] image."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def resize(image: ImageArray, side: int) -> ImageArray:
    """Resize an image to [side, side, 3], antialiased (Lanczos)."""
    if image.shape[:2] == (side, side):
        return image
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS))


def center_crop_resize(image: ImageArray, side: int) -> ImageArray:
    """Crop the centred square and resize it to ``side`` pixels: the input of every model and metric."""
    return resize(center_crop(image), side)


def _decode(data: bytes, max_pixels: int) -> ImageArray:
    if data.startswith(SIGNATURE):
        data = without_texts(data)
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _refuse_by_header(image, max_pixels)
        if image.format in ("JPEG", "MPO"):
            image = Image.open(io.BytesIO(check_jpeg(data)), formats=FORMATS)
        depth = read_bit_depth(image, data)
        image.load()
        return _to_rgb(_upright(image), depth)


def _refuse_by_header(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageDecodeError(f"too many pixels: {width}x{height}, at most {max_pixels} are read")
    # A camera's JPEG may contain previews as further frames (Pillow's MPO); the first frame is the image.
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if frames > 1:
        raise ImageDecodeError(f"animated or of several pages: {frames} frames; give one image per file")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF data: errors of many types. The pixels are complete.
        return image


def _to_rgb(image: Image.Image, depth: BitDepth) -> ImageArray:
    if image.mode.startswith("I;16"):
        return _grey_to_rgb(depth.to_8_bits(np.asarray(image).astype(np.float64)))
    if image.mode in ("I", "F"):
        return _grey_to_rgb(_scale_open_range(np.asarray(image, np.float64), depth, whole=image.mode == "I"))
    depth.check_colors(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def _grey_to_rgb(grey: NDArray[np.float64]) -> ImageArray:
    return np.repeat((grey + 0.5).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def _scale_open_range(values: NDArray[np.float64], depth: BitDepth, *, whole: bool) -> NDArray[np.float64]:
    if not np.isfinite(values).all():
        raise ImageDecodeError("values that are not finite")
    low, high = values.min(), values.max()
    if whole and low >= 0 and 255 < high <= 65535:
        return depth.to_8_bits(values)
    if low >= 0 and high <= 255:
        return values * (255 if high <= 1 and not whole else 1)
    return (values - low) * (255 / (high - low) if high > low else 0)
