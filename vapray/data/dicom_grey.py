"""Grey values of DICOM images: modality LUT, padding, and windows or VOI LUTs (PS3.3 C.11.1, C.11.2, C.7.5.1.1.2)."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vapray.data.dicom_tables import look_up, read_table, white
from vapray.errors import ImageDecodeError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["displayed_grey"]

Values = NDArray[np.float64]


def displayed_grey(dataset: "Dataset", stored: NDArray[Any]) -> NDArray[np.uint8]:
    """Convert stored values to displayed grey values.

    The modality LUT or the rescale is applied, then the first VOI LUT, else the first complete window. Without both,
    8-bit values are kept and others are stretched from their minimum to their maximum. Padding is black and does not
    count for the stretch.

    Args:
        dataset: header of a MONOCHROME1 or MONOCHROME2 image.
        stored: stored values [H, W].

    Returns:
        uint8 [H, W].

    Raises:
        ImageDecodeError: values that are not finite, a lookup table that cannot be read.
    """
    padding = _padding(dataset, stored)
    values = _after_modality(dataset, stored)
    if not np.isfinite(values[~padding]).all():
        raise ImageDecodeError("DICOM: values that are not finite")
    share = _after_voi(dataset, values, padding).clip(0, 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        share = 1 - share
    return np.where(padding, 0, share * 255 + 0.5).astype(np.uint8)


def _padding(dataset: "Dataset", stored: NDArray[Any]) -> NDArray[np.bool_]:
    """Mask the pixels that the scanner did not fill."""
    is_whole = stored.dtype.kind in "iu"
    name = "PixelPaddingValue" if is_whole else "FloatPixelPaddingValue"
    first = dataset.get(name)
    last = dataset.get(name.replace("Value", "RangeLimit"))
    given = [value for value in (first, last) if isinstance(value, int | float)]
    bits = 8 * stored.itemsize
    if first is None or not given or (is_whole and not all(-(2 ** (bits - 1)) <= value < 2**bits for value in given)):
        return np.zeros(stored.shape, bool)
    # A header may write the value as the unsigned form of a negative one, or the reverse.
    ends = np.array(given).astype(stored.dtype)
    return (stored >= ends.min()) & (stored <= ends.max())


def _after_modality(dataset: "Dataset", stored: NDArray[Any]) -> Values:
    if tables := dataset.get("ModalityLUTSequence"):
        return look_up(read_table(dataset, tables[0].LUTDescriptor, tables[0].LUTData), stored)
    slope, intercept = _first_number(dataset, "RescaleSlope"), _first_number(dataset, "RescaleIntercept")
    return stored.astype(np.float64) * (1.0 if slope is None else slope) + (intercept or 0.0)


def _after_voi(dataset: "Dataset", values: Values, padding: NDArray[np.bool_]) -> Values:
    """Scale values to the displayed range 0..1; values outside of a window are outside of it."""
    if tables := dataset.get("VOILUTSequence"):
        table = read_table(dataset, tables[0].LUTDescriptor, tables[0].LUTData)
        return look_up(table, values) / white(table)
    center, width = _first_number(dataset, "WindowCenter"), _first_number(dataset, "WindowWidth")
    if center is not None and width is not None and width > 0:
        return _window(values, center, width, str(dataset.get("VOILUTFunction")))
    shown = values[~padding]
    if not shown.size:
        return np.zeros_like(values)
    low, high = shown.min(), shown.max()
    if dataset.get("BitsStored") == 8 and low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def _window(values: Values, center: float, width: float, function: str) -> Values:
    """Apply a window (PS3.3 C.11.2.1.2 and C.11.2.1.3). LINEAR demands a width of at least 1; below it is exact."""
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (values - center) / width))
    if function == "LINEAR_EXACT" or width < 1:
        return (values - center) / width + 0.5
    return (values - (center - 0.5)) / max(width - 1, 1e-9) + 0.5


def _first_number(dataset: "Dataset", name: str) -> float | None:
    """Read the first value of a tag of decimal strings; None if it is missing, empty or not finite."""
    value = dataset.get(name)
    value = value if isinstance(value, int | float | None) else next(iter(value), None)
    return float(value) if value is not None and np.isfinite(float(value)) else None
