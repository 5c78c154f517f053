"""Cost estimate of the caption audit."""

from vapray.evaluation.audit.findings import WORST_PICTURES
from vapray.evaluation.audit.page import WORST_SIDE
from vapray.evaluation.audit.rating_sheet import SHEET_SIDE
from vapray.forecast import Forecast, Outlook

__all__ = ["forecast"]

SECONDS_OF_A_CAPTION = 0.01  # parsed by the lexicon and compared with eleven images
BYTES_OF_A_PIXEL, BYTES_OF_TEXT = 1.5, 25_000  # an image as PNG inside a page; both pages without images


def forecast(outlook: Outlook) -> Forecast:
    """Estimate the cost of parsing captions and of the images in page and sheet, which the run stores twice."""
    rows = outlook.rows["examinations"]
    rated = min(outlook.config.audit.rated_images, rows) * SHEET_SIDE**2
    shown = (rated + min(WORST_PICTURES, rows) * WORST_SIDE**2) * BYTES_OF_A_PIXEL
    return Forecast(
        rows=rows,
        part_bytes=0,
        file_bytes=2 * (BYTES_OF_TEXT + shown),
        startup_seconds=1.0,
        work_seconds=rows * SECONDS_OF_A_CAPTION,
        peak_bytes=2 * shown,
    )
