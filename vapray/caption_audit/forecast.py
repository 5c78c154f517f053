"""Cost estimate of the caption audit."""

from vapray.bank.forecast import SECONDS_OF_A_REMOVAL
from vapray.caption_audit.findings import WORST_PICTURES
from vapray.caption_audit.page import WORST_SIDE
from vapray.caption_audit.rating_sheet import SHEET_SIDE
from vapray.runtime.forecast import Forecast, ForecastInputs

__all__ = ["forecast"]

SECONDS_OF_A_CAPTION = 0.01  # parsed by the lexicon and compared with eleven images
BYTES_OF_A_PIXEL, BYTES_OF_TEXT = 1.5, 25_000  # an image as PNG inside a page; both pages without images


def forecast(outlook: ForecastInputs) -> Forecast:
    """Estimate the cost of parsing captions and of the images in page and sheet, which the run stores twice."""
    rows = outlook.rows["audit_measurements"]
    removal = SECONDS_OF_A_REMOVAL if outlook.config.caption.trust == "audited" else 0.0
    rated = min(outlook.config.caption_audit.rated_images, rows) * SHEET_SIDE**2
    shown = (rated + min(WORST_PICTURES, rows) * WORST_SIDE**2) * BYTES_OF_A_PIXEL
    return Forecast(
        rows=rows,
        part_bytes=0,
        file_bytes=2 * (BYTES_OF_TEXT + shown),
        startup_seconds=1.0,
        work_seconds=rows * (SECONDS_OF_A_CAPTION + removal),
        peak_bytes=2 * shown,
    )
