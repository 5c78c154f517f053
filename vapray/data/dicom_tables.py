"""Lookup tables of DICOM images: modality LUT, VOI LUT and palettes (PS3.3 C.11.1.1, C.11.2.1.1, C.7.6.3.1.5).

They are applied here, since pydicom 3.0 fails on modality LUTs of 12 bits, and its index of 8-bit tables wraps at 256.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vapray.errors import ImageDecodeError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["LookupTable", "look_up", "palette_colors", "read_table", "white"]

UNUSED_BITS = 4
"""Upper bits without which a table is taken for one of fewer bits."""


@dataclass(frozen=True)
class LookupTable:
    """Lookup table: an entry for each value from ``first`` on.

    Attributes:
        entries: non-negative integers.
        first: value of the first entry; lower values get the first entry, higher ones than the last the last entry.
        bits: declared bits of an entry.
    """

    entries: NDArray[np.int64]
    first: int
    bits: int


def read_table(dataset: "Dataset", descriptor: Sequence[int], data: bytes | Sequence[int]) -> LookupTable:
    """Read a table; entries of 8 bits may be stored in bytes or in 16-bit words.

    Raises:
        ImageDecodeError: a table without entries.
    """
    count, first, bits = descriptor[0] or 2**16, descriptor[1], descriptor[2]
    if isinstance(data, bytes):
        order = "<" if dataset.original_encoding[1] else ">"
        entries = np.frombuffer(data, "u1" if count <= len(data) < 2 * count else f"{order}u2")
    else:
        entries = np.atleast_1d(np.asarray(data)) & 0xFFFF
    if not entries.size:
        raise ImageDecodeError("DICOM: a lookup table without entries")
    return LookupTable(entries[:count].astype(np.int64), first, bits)


def look_up(table: LookupTable, values: NDArray[Any]) -> NDArray[np.float64]:
    """Replace each value, rounded to an integer, by its entry."""
    # A header may write a negative first value in its unsigned form.
    first = table.first - 2**16 if table.first >= 2**15 and values.min() < 0 else table.first
    places = (np.rint(values).astype(np.int64) - first).clip(0, len(table.entries) - 1)
    return table.entries[places].astype(np.float64)


def white(*tables: LookupTable) -> int:
    """Get the entry that is white: all declared bits set, or fewer bits if the entries use less than 1/16 of them."""
    highest, bits = max(int(table.entries.max()) for table in tables), max(table.bits for table in tables)
    needed = max(8, highest.bit_length())
    return 2 ** (bits if needed <= bits < needed + UNUSED_BITS else needed) - 1


def palette_colors(dataset: "Dataset", stored: NDArray[Any]) -> NDArray[np.uint8]:
    """Replace stored values [H, W] by the colors of the palette, uint8 RGB [H, W, 3].

    Raises:
        ImageDecodeError: no palette, or a segmented one.
    """
    names = [f"{color}PaletteColorLookupTable" for color in ("Red", "Green", "Blue")]
    if not all(f"{name}{part}" in dataset for name in names for part in ("Descriptor", "Data")):
        raise ImageDecodeError("DICOM: PALETTE COLOR without a palette, or with a segmented one; store it as RGB")
    tables = [read_table(dataset, dataset[f"{name}Descriptor"].value, dataset[f"{name}Data"].value) for name in names]
    colors = np.stack([look_up(table, stored) for table in tables], axis=-1)
    return (colors * (255 / white(*tables)) + 0.5).astype(np.uint8)
