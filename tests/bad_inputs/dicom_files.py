"""DICOM files of a few pixels, as scanners and anonymisers write them."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGBaseline8Bit, SecondaryCaptureImageStorage, generate_uid

PERSON = "DOE^JANE"
RAMP = np.linspace(0, 4095, 256).astype(np.uint16)[None].repeat(4, axis=0)
"""Twelve bits, dark to bright, [4, 256]."""


def make_dicom(stored: NDArray[Any] = RAMP, syntax: UID = ExplicitVRLittleEndian, **tags: Any) -> bytes:
    """A de-identified single-frame grey picture, but for the tags given; None leaves one out."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    bits = 8 * stored.itemsize
    facts: dict[str, Any] = {
        "PatientName": PERSON,
        "PatientIdentityRemoved": "YES",
        "Rows": 4,
        "Columns": 256,
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "PixelData": stored.tobytes(),
    }
    for name, value in (facts | tags).items():
        if value is not None:
            setattr(dataset, name, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def rewritten(data: bytes, change: Callable[[Dataset], object]) -> bytes:
    """The file after a change that a writer does not allow."""
    dataset = dcmread(io.BytesIO(data))
    change(dataset)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=False)
    return buffer.getvalue()


def encapsulated(jpeg: bytes) -> bytes:
    """A DICOM file of 64 x 64 pixels that contains a JPEG."""
    return make_dicom(
        np.zeros((64, 64), np.uint8),
        JPEGBaseline8Bit,
        Rows=64,
        Columns=64,
        SamplesPerPixel=3,
        PlanarConfiguration=0,
        PhotometricInterpretation="YBR_FULL_422",
        PixelData=encapsulate([jpeg]),
    )


def without_syntax(syntax: UID = ExplicitVRLittleEndian, **tags: object) -> bytes:
    return rewritten(make_dicom(syntax=syntax, **tags), lambda dataset: delattr(dataset.file_meta, "TransferSyntaxUID"))
