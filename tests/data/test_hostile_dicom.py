"""DICOM files that viewers show and simple readers get wrong: each has its right pixels."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, Sequence, dcmread, examples
from pydicom.pixels import apply_color_lut, apply_windowing, pixel_array
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from tests.bad_inputs.dicom_files import RAMP, encapsulated, make_dicom, rewritten, without_syntax
from tests.data.image_bytes import encode, noise
from vapray.data.decode import decode

WHOLE = np.arange(256)
HALF = (WHOLE * 2).clip(0, 255)
EIGHT = WHOLE.astype(np.uint8)[None].repeat(4, axis=0)
TWELVE = {"BitsStored": 12, "HighBit": 11}
BLACK = np.zeros(256)


def table(count: int, first: int, bits: int, entries: np.ndarray, as_bytes: bool = False) -> Sequence:
    """A sequence with one lookup table, its entries in 16-bit words."""
    item = Dataset()
    item.LUTDescriptor = [count, first, bits]
    words = entries.astype("<u2")
    item.add_new("LUTData", "OW" if as_bytes else "US", words.tobytes() if as_bytes else words.tolist())
    return Sequence([item])


def line(count: int, top: int) -> np.ndarray:
    return np.linspace(0, top, count).astype(int)


def padded(value: int, stored: np.ndarray = RAMP) -> np.ndarray:
    """The image with padding in its last 20 columns."""
    image = stored.copy()
    image[:, -20:] = value
    return image


def palette(bits: int, entries: np.ndarray, stored: np.ndarray, first: int = 0) -> bytes:
    """A palette of red, half red and no blue."""
    tags = {"PhotometricInterpretation": "PALETTE COLOR"}
    word = "<u2" if bits == 16 else "u1"
    for color, share in (("Red", 1), ("Green", 0.5), ("Blue", 0)):
        tags[f"{color}PaletteColorLookupTableDescriptor"] = [len(entries) % 65536, first, bits]
        tags[f"{color}PaletteColorLookupTableData"] = (entries * share).astype(word).tobytes()
    return make_dicom(stored, **tags)


ENDS = np.where(WHOLE < 236, WHOLE * 255 // 235, 0)
"""Ramp that is stretched without its last 20 columns; these are black."""
GREY = {
    "VOI LUT, 12 to 8 bits": make_dicom(**TWELVE, VOILUTSequence=table(4096, 0, 8, line(4096, 255))),
    "VOI LUT, 12 to 8 bits, as bytes": make_dicom(**TWELVE, VOILUTSequence=table(4096, 0, 8, line(4096, 255), True)),
    "VOI LUT, 12 to 12 bits": make_dicom(**TWELVE, VOILUTSequence=table(4096, 0, 12, line(4096, 4095))),
    "VOI LUT, 16 bits of which 12 are used": make_dicom(**TWELVE, VOILUTSequence=table(4096, 0, 16, line(4096, 4095))),
    "VOI LUT before a window": make_dicom(
        **TWELVE, VOILUTSequence=table(4096, 0, 12, line(4096, 4095)), WindowCenter=9, WindowWidth=2
    ),
    "VOI LUT after a negative rescale": make_dicom(
        **TWELVE,
        RescaleSlope=1,
        RescaleIntercept=-1024,
        VOILUTSequence=table(4096, 65536 - 1024, 12, line(4096, 4095)),
    ),
    "modality LUT of 12 bits": make_dicom(**TWELVE, ModalityLUTSequence=table(4096, 0, 12, line(4096, 4095))),
    "modality LUT of 16 bits": make_dicom(**TWELVE, ModalityLUTSequence=table(4096, 0, 16, line(4096, 65535))),
    "modality LUT of 8 bits": make_dicom(**TWELVE, ModalityLUTSequence=table(4096, 0, 8, line(4096, 255))),
    "modality LUT and VOI LUT": make_dicom(
        **TWELVE,
        ModalityLUTSequence=table(4096, 0, 10, line(4096, 1023)),
        VOILUTSequence=table(1024, 0, 8, line(1024, 255)),
    ),
    "width without center": make_dicom(WindowWidth=2048),
    "center without width": make_dicom(WindowCenter=2048),
    "width of zero": make_dicom(WindowCenter=1024, WindowWidth=0),
    "LINEAR_EXACT": make_dicom(WindowCenter=2047.5, WindowWidth=4095, VOILUTFunction="LINEAR_EXACT"),
    "window of fractions": make_dicom(
        RescaleSlope=1 / 4095, RescaleIntercept=0, WindowCenter=0.5, WindowWidth=1 - 1e-9
    ),
    "unknown function": make_dicom(WindowCenter=2048, WindowWidth=4096, VOILUTFunction="CUBIC"),
    "more centers than widths": make_dicom(WindowCenter=[2048, 9], WindowWidth=4096),
    "no TransferSyntaxUID, explicit": without_syntax(),
    "no TransferSyntaxUID, implicit": without_syntax(ImplicitVRLittleEndian),
    "big endian": make_dicom(RAMP.byteswap(), ExplicitVRBigEndian),
    "float pixels": make_dicom(
        RAMP.astype(np.float32), PixelData=None, FloatPixelData=RAMP.astype(np.float32).tobytes(), BitsStored=None
    ),
    "double pixels": make_dicom(
        RAMP.astype(np.float64), PixelData=None, DoubleFloatPixelData=RAMP.astype(np.float64).tobytes(), BitsStored=None
    ),
    "padding of more bits than the pixels": make_dicom(EIGHT, PixelPaddingValue=65535),
    "one frame": make_dicom(NumberOfFrames=1),
}
SHOWN = {name: (data, WHOLE) for name, data in GREY.items()} | {
    "SIGMOID": (
        make_dicom(WindowCenter=2048, WindowWidth=1024, VOILUTFunction="SIGMOID"),
        255 / (1 + np.exp(-4 * (RAMP[0] - 2048.0) / 1024)),
    ),
    "window of width 1": (make_dicom(WindowCenter=2048, WindowWidth=1), np.where(RAMP[0] > 2047.5, 255, 0)),
    "first of several windows": (make_dicom(WindowCenter=[1024, 2048], WindowWidth=[2048, 4096]), HALF),
    "padding that is bright": (make_dicom(padded(65535), PixelPaddingValue=65535), ENDS),
    "padding that is negative": (
        make_dicom(padded(-2000, RAMP.astype(np.int16)), PixelPaddingValue=-2000),
        ENDS,
    ),
    "padding under a window": (
        make_dicom(padded(65535), PixelPaddingValue=65535, WindowCenter=1024, WindowWidth=2048),
        np.where(WHOLE < 236, HALF, 0),
    ),
    "negative padding in its unsigned form": (
        rewritten(
            make_dicom(padded(-2000, RAMP.astype(np.int16)), PixelPaddingValue=-2000),
            lambda dataset: dataset.add_new("PixelPaddingValue", "US", 65536 - 2000),
        ),
        ENDS,
    ),
    "range of padding": (
        make_dicom(padded(65000), PixelPaddingValue=65535, PixelPaddingRangeLimit=64000),
        ENDS,
    ),
    "padding of MONOCHROME1": (
        make_dicom(padded(65535), PixelPaddingValue=65535, PhotometricInterpretation="MONOCHROME1"),
        np.where(WHOLE < 236, 255 - ENDS, 0),
    ),
    "nothing but padding": (make_dicom(np.full((4, 256), 7, np.uint16), PixelPaddingValue=7), BLACK),
    "MONOCHROME1 and VOI LUT": (
        make_dicom(
            **TWELVE,
            PhotometricInterpretation="MONOCHROME1",
            VOILUTSequence=table(4096, 0, 8, line(4096, 255)),
        ),
        255 - WHOLE,
    ),
}


@pytest.mark.parametrize(("data", "expected"), SHOWN.values(), ids=SHOWN)
def test_grey_values_are_those_that_a_viewer_shows(data: bytes, expected: np.ndarray) -> None:
    image = decode(data)
    assert image.shape == (4, 256, 3) and image.dtype == np.uint8
    assert np.abs(image - expected[None, :, None].astype(float)).max() <= 2


PALETTES = {
    "8 bits": palette(8, line(256, 255), EIGHT),
    "16 bits": palette(16, line(256, 65535), EIGHT),
    "8 bits in 16": palette(16, line(256, 255), EIGHT),
    "more than 256 colors of 8 bits": palette(8, line(4096, 255), RAMP),
    "first color in the middle": palette(8, line(256, 255), EIGHT.astype(np.uint16) + 1000, first=1000),
}


@pytest.mark.parametrize("data", PALETTES.values(), ids=PALETTES)
def test_a_palette_gives_its_colors(data: bytes) -> None:
    expected = np.stack([WHOLE, WHOLE / 2, 0 * WHOLE], axis=-1)
    assert np.abs(decode(data) - expected[None]).max() <= 1


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_complete_jpeg_inside_is_read(options: dict[str, object]) -> None:
    jpeg = encode(noise(), "JPEG", **options)
    assert np.abs(decode(encapsulated(jpeg)).astype(int) - decode(jpeg)).max() <= 2


def test_a_palette_is_applied_as_pydicom_does() -> None:
    path = examples.get_path("palette_color")
    dataset = dcmread(path)
    expected = apply_color_lut(pixel_array(dataset), dataset) / 257
    assert np.abs(decode(Path(path).read_bytes(), accept_identified=True) - expected).max() <= 0.5


@given(
    center=st.floats(-1000, 5000),
    width=st.floats(1.01, 5000),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
)
@settings(max_examples=50, deadline=None)
@pytest.mark.filterwarnings("ignore:overflow encountered in exp")
def test_a_window_is_applied_as_pydicom_does(center: float, width: float, function: str) -> None:
    data = make_dicom(WindowCenter=f"{center:.6f}", WindowWidth=f"{width:.6f}", VOILUTFunction=function)
    expected = apply_windowing(RAMP, dcmread(io.BytesIO(data))) / 65535 * 255
    assert np.abs(decode(data)[..., 0] - expected).max() <= 0.51
