"""DICOM files that cannot be read: the reason names the missing tag or the part that is damaged."""

import numpy as np
import pytest
from pydicom import Dataset, Sequence
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from tests.data.image_bytes import END_MARKER, encode, noise
from vapray.data.decode import decode

from .dicom_files import RAMP, encapsulated, make_dicom, rewritten, without_syntax
from .refusal import DATA, refused

JPEG = encode(noise(), "JPEG")
REFUSED = {
    "no palette": (make_dicom(PhotometricInterpretation="PALETTE COLOR"), "PALETTE COLOR without a palette"),
    "another color space": (make_dicom(PhotometricInterpretation="ARGB"), "unsupported color space; expected one of"),
    "compressed, no TransferSyntaxUID": (
        without_syntax(JPEGBaseline8Bit, PixelData=encapsulate([b"\xff\xd8\xff\xd9"])),
        "compressed pixels without a TransferSyntaxUID; export the file again",
    ),
    "half a JPEG with an end marker": (
        encapsulated(JPEG[: len(JPEG) // 2] + END_MARKER),
        "pixels in JPEG Baseline (Process 1) are damaged",
    ),
    "compressed pixels that are damaged": (
        make_dicom(syntax=JPEGBaseline8Bit, PixelData=encapsulate([b"\xff\xd8\xff\xd9"])),
        "pixels in JPEG Baseline (Process 1) are damaged, or of a kind that no installed decoder reads",
    ),
    "floats that are not finite": (
        make_dicom(
            RAMP.astype(np.float32),
            PixelData=None,
            FloatPixelData=np.full((4, 256), np.nan, np.float32).tobytes(),
            BitsStored=None,
        ),
        "values that are not finite",
    ),
    "colors of 16 bits": (
        make_dicom(
            np.zeros((4, 256, 3), np.uint16), SamplesPerPixel=3, PlanarConfiguration=0, PhotometricInterpretation="RGB"
        ),
        "colors of more than 8 bits; expected 8",
    ),
    "lookup table without entries": (make_dicom(VOILUTSequence=Sequence([Dataset()])), "a lookup table or window"),
    "fewer pixels than rows need": (make_dicom(Rows=8), "pixel data that are cut short, damaged"),
} | {
    f"no {name}": (
        rewritten(make_dicom(), lambda dataset, name=name: delattr(dataset, name)),
        f"DICOM: no {name} in its header, which decoding needs",
    )
    for name in ("Rows", "Columns", "BitsAllocated", "BitsStored", "SamplesPerPixel", "PixelRepresentation")
}


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED)
def test_the_reason_says_what_the_file_lacks(data: bytes, reason: str) -> None:
    assert "Error" not in refused(DATA, lambda: decode(data), "DICOM: ", reason)
