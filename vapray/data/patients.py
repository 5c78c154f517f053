"""Groups of DICOM images of one patient."""

import io
import warnings
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from vapray.data.dicom import is_dicom, is_dicom_file, load_pydicom
from vapray.data.origins import pseudonym
from vapray.data.parquet_images import file_of, read_first_image, read_image_of_row
from vapray.errors import ImageDecodeError

__all__ = ["patient_group"]


def patient_group(path: Path) -> str:
    """Hash the PatientID of a DICOM file, or of a DICOM image in a Parquet file, into a group name.

    The bytes decide, not the file name. A Parquet file is searched only if its first image is DICOM. The hash is for
    de-identified files: it can be recomputed from a known PatientID.

    Returns:
        Group name; empty for other files, and where the header has no PatientID.

    Raises:
        BackendError: pydicom is not installed.
    """
    try:
        file = _open_dicom(path)
    except (OSError, pa.ArrowException, ImageDecodeError):
        return ""  # ingest rejects an unreadable file, with its reason
    if file is None:
        return ""
    with file, warnings.catch_warnings(action="ignore"):
        pydicom = load_pydicom()
        try:
            tags = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["PatientID"])
            patient = str(tags.get("PatientID") or "").strip()
        except Exception:
            return ""
    return pseudonym("patient", patient) if patient else ""


def _open_dicom(path: Path) -> BinaryIO | None:
    """Open a DICOM file, or a DICOM image in a Parquet file; None for any other file."""
    table = file_of(str(path))
    if table == str(path):
        return path.open("rb") if is_dicom_file(path) else None
    if not _starts_with_dicom(table, Path(table).stat().st_mtime_ns):
        return None
    image = read_image_of_row(str(path)) or b""
    return io.BytesIO(image) if is_dicom(image) else None


@lru_cache
def _starts_with_dicom(table: str, modified: int) -> bool:
    """Return True if the first image of a Parquet file is DICOM."""
    return is_dicom(read_first_image(table))
