"""DICOM decoding to uint8 RGB: rescale, window and inversion of MONOCHROME1.

A header may identify a person. No header value is kept, and no message contains a tag's value: pydicom's messages and
warnings contain them, so they are suppressed here and its errors are not chained. Files that are not marked as
de-identified are refused unless the caller accepts them.
"""

import hashlib
import io
import logging
import warnings
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vapray.errors import BackendError, ImageDecodeError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["decode_dicom", "is_dicom", "patient_group"]

ImageArray = NDArray[np.uint8]
PREAMBLE = 128
GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
DEFLATED = b"1.2.840.10008.1.2.1.99"


def is_dicom(data: bytes) -> bool:
    """Return True if the data has DICOM's magic bytes after its preamble."""
    return data[PREAMBLE : PREAMBLE + 4] == b"DICM"


def decode_dicom(data: bytes, *, max_pixels: int, accept_identified: bool) -> ImageArray:
    """Decode a single-frame DICOM image to uint8 RGB [H, W, 3].

    Args:
        data: bytes of the complete file.
        max_pixels: maximum width x height; larger images are refused by their header.
        accept_identified: also read files that are not marked as de-identified.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ImageDecodeError: not marked as de-identified, several frames, no pixels, too large, an unsupported compression
            or colour space, damaged. ``str(error)`` is the reason and contains no header value.
        BackendError: pydicom is not installed.
    """
    pydicom = _pydicom()
    if DEFLATED in data[:1024]:  # pydicom would inflate it, to any size, before reading a tag
        raise ImageDecodeError("DICOM: deflated as a whole; store it uncompressed")
    try:
        with warnings.catch_warnings(action="ignore"):
            dataset = pydicom.dcmread(io.BytesIO(data))
            _refuse_by_header(dataset, max_pixels, accept_identified)
            values = _pixels(pydicom, dataset)
            return _grey(pydicom, dataset, values) if dataset.PhotometricInterpretation in GREY else _colour(values)
    except ImageDecodeError:
        raise
    except Exception as error:
        # pydicom raises errors of many types for damaged files, and their texts may quote the header.
        raise ImageDecodeError(f"DICOM: damaged or cut short ({type(error).__name__})") from None


def patient_group(path: Path) -> str:
    """Hash the PatientID of a .dcm file into a group name; empty where the header has none.

    The hash is for de-identified files: it can be recomputed from a known PatientID.

    Raises:
        BackendError: pydicom is not installed.
    """
    if path.suffix.lower() != ".dcm":
        return ""
    pydicom = _pydicom()
    try:
        with warnings.catch_warnings(action="ignore"):
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["PatientID"])
            patient = str(header.get("PatientID") or "").strip()
    except Exception:
        return ""  # ingest rejects an unreadable file, with its reason
    return f"patient-{hashlib.sha256(f'vapray {patient}'.encode()).hexdigest()[:16]}" if patient else ""


def _pydicom() -> ModuleType:
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
    if "PixelData" not in dataset:
        raise ImageDecodeError("DICOM: no pixels in it")
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        raise ImageDecodeError("DICOM: several frames; give one image per file")
    if dataset.Rows * dataset.Columns > max_pixels:
        raise ImageDecodeError(f"DICOM: too many pixels, at most {max_pixels} are read")
    if dataset.PhotometricInterpretation not in (*GREY, *COLOUR):
        raise ImageDecodeError(f"DICOM: unsupported colour space; expected one of {', '.join((*GREY, *COLOUR))}")


def _pixels(pydicom: ModuleType, dataset: "Dataset") -> NDArray[Any]:
    """Read the stored values [H, W], or RGB [H, W, 3]."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_compressed and not pydicom.pixels.get_decoder(syntax).is_available:
        # The name comes from the DICOM standard, not from the file, so it is safe to show.
        raise ImageDecodeError(
            f"DICOM: no decoder for {syntax.name}; install pylibjpeg, pylibjpeg-libjpeg and pylibjpeg-openjpeg, "
            "or store it uncompressed"
        )
    return np.asarray(pydicom.pixels.pixel_array(dataset))


def _grey(pydicom: ModuleType, dataset: "Dataset", stored: NDArray[Any]) -> ImageArray:
    values = pydicom.pixels.apply_modality_lut(stored, dataset).astype(np.float64)
    low, high = values.min(), values.max()
    if dataset.get("VOILUTSequence"):
        low, high = 0.0, 2.0 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
        values = pydicom.pixels.apply_voi(values.astype(np.int64), dataset).astype(np.float64)
    elif dataset.get("WindowWidth"):
        # The values at a window's ends depend on the stored type; values far outside return them.
        low, high = pydicom.pixels.apply_windowing(np.array([-1e9, 1e9]), dataset)
        values = pydicom.pixels.apply_windowing(values, dataset)
    elif dataset.BitsStored == 8 and low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    share = (values - low) / (high - low) if high != low else np.zeros_like(values)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        share = 1 - share
    return np.repeat((share * 255 + 0.5).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def _colour(values: NDArray[Any]) -> ImageArray:
    if values.dtype != np.uint8:
        raise ImageDecodeError("DICOM: colours of more than 8 bits; expected 8")
    return np.ascontiguousarray(values)
