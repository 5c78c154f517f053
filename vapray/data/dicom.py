"""DICOM decoding to uint8 RGB.

A header may identify a person. No header value is kept, and no message contains a tag's value: pydicom's messages and
warnings contain them, so they are suppressed here and its errors are not chained. Files that are not marked as
de-identified are refused unless the caller accepts them.
"""

import io
import logging
import warnings
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vapray.data.dicom_grey import displayed_grey
from vapray.data.dicom_tables import palette_colors
from vapray.data.jpeg import refuse_incomplete_jpeg
from vapray.errors import BackendError, ImageDecodeError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["decode_dicom", "is_dicom", "is_dicom_file", "load_pydicom"]

ImageArray = NDArray[np.uint8]
PREAMBLE = 128
GREY = ("MONOCHROME1", "MONOCHROME2")
DECODERS = "install pylibjpeg, pylibjpeg-libjpeg and pylibjpeg-openjpeg"
PALETTE = "PALETTE COLOR"
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
JPEG_SYNTAXES = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
DEFLATED = b"1.2.840.10008.1.2.1.99"
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
NEEDED = ("Rows", "Columns", "BitsAllocated", "SamplesPerPixel", "PhotometricInterpretation")
NEEDED_BY_INTEGERS = ("BitsStored", "PixelRepresentation")


def is_dicom(data: bytes) -> bool:
    """Return True if the data has DICOM's magic bytes after its preamble."""
    return data[PREAMBLE : PREAMBLE + 4] == b"DICM"


def is_dicom_file(path: Path) -> bool:
    """Return True if the file can be read and has DICOM's magic bytes."""
    try:
        with path.open("rb") as file:
            return is_dicom(file.read(PREAMBLE + 4))
    except OSError:
        return False


def decode_dicom(data: bytes, *, max_pixels: int, accept_identified: bool) -> ImageArray:
    """Decode a single-frame DICOM image to uint8 RGB [H, W, 3].

    Args:
        data: bytes of the complete file.
        max_pixels: maximum width x height; larger images are refused by their header.
        accept_identified: also read files that are not marked as de-identified.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ImageDecodeError: not marked as de-identified, several frames, no pixels, tags missing, too large, an
            unsupported compression or color space, damaged. ``str(error)`` is the reason and contains no header value.
        BackendError: pydicom is not installed.
    """
    pydicom = load_pydicom()
    if DEFLATED in data[:1024]:  # pydicom would inflate it, to any size, before reading a tag
        raise ImageDecodeError("DICOM: deflated as a whole; store it uncompressed")
    damaged = "a header that is damaged or cut short"
    try:
        with warnings.catch_warnings(action="ignore"):
            dataset = pydicom.dcmread(io.BytesIO(data))
            _refuse_by_header(dataset, max_pixels, accept_identified)
            _complete_transfer_syntax(pydicom, dataset)
            damaged = "pixel data that are cut short, damaged, or not as the header describes them"
            stored = _stored_values(pydicom, dataset)
            damaged = "a lookup table or window that cannot be read"
            return _to_rgb(dataset, stored)
    except ImageDecodeError:
        raise
    except Exception:
        # pydicom raises errors of many types for damaged files, and their texts may quote the header.
        raise ImageDecodeError(f"DICOM: {damaged}; copy the file again") from None


def load_pydicom() -> ModuleType:
    """Import pydicom without its log messages, which may quote a header; BackendError if it is not installed."""
    try:
        import pydicom
        import pydicom.pixels
    except ImportError:
        raise BackendError("DICOM files need pydicom, which is not installed. Fix: install vapray[dicom].") from None
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    return pydicom


def _refuse_by_header(dataset: "Dataset", max_pixels: int, accept_identified: bool) -> None:
    named = dataset.get("PatientIdentityRemoved") != "YES" or dataset.get("BurnedInAnnotation") == "YES"
    if named and not accept_identified:
        raise ImageDecodeError(
            "DICOM: not marked as de-identified (expected PatientIdentityRemoved YES, and BurnedInAnnotation not YES); "
            "de-identify it, or set data.accept_identified_dicom=true"
        )
    kind = next((name for name in PIXELS if name in dataset), None)
    if kind is None:
        raise ImageDecodeError("DICOM: no pixels in it")
    for name in (*NEEDED, *(NEEDED_BY_INTEGERS if kind == "PixelData" else ())):
        if dataset.get(name) in (None, ""):
            raise ImageDecodeError(f"DICOM: no {name} in its header, which decoding needs")
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        raise ImageDecodeError("DICOM: several frames; give one image per file")
    if dataset.Rows * dataset.Columns > max_pixels:
        raise ImageDecodeError(f"DICOM: too many pixels, at most {max_pixels} are read")
    if dataset.PhotometricInterpretation not in (*GREY, PALETTE, *COLOUR):
        raise ImageDecodeError(
            f"DICOM: unsupported color space; expected one of {', '.join((*GREY, PALETTE, *COLOUR))}"
        )


def _complete_transfer_syntax(pydicom: ModuleType, dataset: "Dataset") -> None:
    """Add the transfer syntax of uncompressed pixels where the header has none."""
    if "TransferSyntaxUID" in dataset.file_meta:
        return
    if "PixelData" in dataset and dataset["PixelData"].is_undefined_length:
        raise ImageDecodeError("DICOM: compressed pixels without a TransferSyntaxUID; export the file again")
    is_implicit, is_little_endian = dataset.original_encoding
    uids = pydicom.uid
    explicit = uids.ExplicitVRLittleEndian if is_little_endian else uids.ExplicitVRBigEndian
    dataset.file_meta.TransferSyntaxUID = uids.ImplicitVRLittleEndian if is_implicit else explicit


def _stored_values(pydicom: ModuleType, dataset: "Dataset") -> NDArray[Any]:
    """Read the stored values [H, W], or RGB [H, W, 3]."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed:
        return np.asarray(pydicom.pixels.pixel_array(dataset))
    # The name comes from the DICOM standard, not from the file, so it is safe to show.
    decoder, name = pydicom.pixels.get_decoder(syntax), syntax.name
    if not decoder.is_available:
        raise ImageDecodeError(f"DICOM: no decoder for {name}; {DECODERS}, or store it uncompressed")
    try:
        if syntax in JPEG_SYNTAXES:
            refuse_incomplete_jpeg(pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=1))
        return np.asarray(pydicom.pixels.pixel_array(dataset))
    except Exception:
        raise ImageDecodeError(
            f"DICOM: pixels in {name} are damaged, or of a kind that no installed decoder reads; copy the file again, "
            f"{DECODERS}, or store it uncompressed"
        ) from None


def _to_rgb(dataset: "Dataset", stored: NDArray[Any]) -> ImageArray:
    if dataset.PhotometricInterpretation in GREY:
        return np.repeat(displayed_grey(dataset, stored)[..., None], 3, axis=2)
    if dataset.PhotometricInterpretation == PALETTE:
        return palette_colors(dataset, stored)
    if stored.dtype != np.uint8:
        raise ImageDecodeError("DICOM: colors of more than 8 bits; expected 8")
    return np.ascontiguousarray(stored)
