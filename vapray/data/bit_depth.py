"""Bit depth of images with more than 8 bits per sample: the value that is white.

White is 65535 unless the file declares fewer bits. Samples of 8, 10 or 12 bits are often stored in 16 bits without
scaling, and such an image cannot be told from a dark one. A file without a declaration is therefore refused if it uses
less than 1/16 of the range: as a 16-bit image, its brightest pixel would be 15 of 255.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin

from vapray.data.png import significant_bits
from vapray.errors import ImageDecodeError

__all__ = ["BitDepth", "read_bit_depth"]

WHITE = 65535
UNSCALED = 4096
BITS_PER_SAMPLE, PHOTOMETRIC, DESCRIPTION, MAX_SAMPLE_VALUES = 258, 262, 270, (281, 341)


@dataclass(frozen=True)
class BitDepth:
    """Bits of a sample, as the file declares them.

    Attributes:
        bits: declared bits; 16 if the file has 16-bit samples and declares nothing; 0 if there is nothing to check.
        may_be_scaled: True if the declared bits may already be scaled to 16 bits, as PNG demands.
        white_is_zero: True if 0 is white and the decoder does not invert it (16-bit TIFF).
    """

    bits: int = 0
    may_be_scaled: bool = False
    white_is_zero: bool = False

    def to_8_bits(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scale grey samples to 0..255.

        Raises:
            ImageDecodeError: no declaration, and no value reaches UNSCALED; an image of zeros is black.
        """
        highest = int(values.max())
        if self.bits == 16 and 0 < highest < UNSCALED:
            raise ImageDecodeError(
                f"16-bit samples of at most {highest} of {WHITE}, almost black: 8, 10 or 12 bits that are not scaled, "
                f"or a dark image; multiply all images of the set by one factor (12 bits: {WHITE}/4095), or declare "
                "the bit depth, see docs/how-to/datasets.md"
            )
        declared = 2**self.bits - 1
        is_scaled = highest > declared or (self.may_be_scaled and not _is_between(values, 2 ** (16 - self.bits)).any())
        scaled = values * (255 / (WHITE if is_scaled else declared))
        return 255 - scaled if self.white_is_zero else scaled

    def check_colors(self, image: Image.Image) -> None:
        """Refuse colors of 16 bits, of which the decoder kept the upper 8, if no value reaches UNSCALED."""
        if self.bits and np.asarray(image.convert("RGB")).max() <= UNSCALED >> 8:
            raise ImageDecodeError(
                "16-bit colors of at most 1/16 of the range, almost black: 8, 10 or 12 bits that are not scaled, or a "
                "dark image; save all images of the set with 8 bits per sample"
            )


def read_bit_depth(image: ImageFile.ImageFile, data: bytes) -> BitDepth:
    """Read the bit depth that a file declares.

    Declarations: bits per sample of a TIFF; SignificantBits of an OME-TIFF; MaxSampleValue or SMaxSampleValue of a TIFF
    if it is 2^n - 1 (the tags may also hold the largest value of a dark image); maximum of a PGM; chunk sBIT of a PNG.

    Args:
        image: image, opened and not yet loaded.
        data: bytes of its file.
    """
    arguments: Any = image.tile[0].args if image.tile else ""
    raw_mode, *further = [arguments] if isinstance(arguments, str) else arguments
    # Pillow scales a PPM by its maximum, which is the only further argument.
    is_deep = re.search(r";(12|16|32)", str(raw_mode)) or (image.format == "PPM" and further == [WHITE])
    if not is_deep or image.mode in ("F", "CMYK"):
        return BitDepth()
    if image.format == "PNG":
        return BitDepth(significant_bits(data) or 16, may_be_scaled=True)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        white_is_zero = image.mode.startswith("I;16") and image.tag_v2.get(PHOTOMETRIC) == 0
        return BitDepth(_bits_of_tiff(image.tag_v2), white_is_zero=white_is_zero)
    return BitDepth(16)


def _bits_of_tiff(tags: TiffImagePlugin.ImageFileDirectory_v2) -> int:
    if (bits := tags.get(BITS_PER_SAMPLE, (16,))[0]) < 16:
        return int(bits)
    if ome := re.search(r'SignificantBits="(\d+)"', str(tags.get(DESCRIPTION, ""))):
        return min(int(ome[1]), 16)
    highest = [int(np.max(tags[tag])) for tag in MAX_SAMPLE_VALUES if tag in tags]
    return next((value.bit_length() for value in highest if 255 <= value < WHITE and value & (value + 1) == 0), 16)


def _is_between(values: NDArray[np.float64], step: int) -> NDArray[np.bool_]:
    """Mask values that are more than 1 from all multiples of ``step``; scaled samples never are."""
    remainder = values % step
    return (remainder > 1) & (remainder < step - 1)
