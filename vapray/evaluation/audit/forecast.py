"""What judging captions would cost."""

from vapray.evaluation.audit.findings import WORST_PICTURES
from vapray.evaluation.audit.page import WORST_SIDE
from vapray.evaluation.audit.rating_sheet import SHEET_SIDE
from vapray.forecast import Forecast, Outlook

__all__ = ["forecast"]

SECONDS_OF_A_CAPTION = 0.01  # read by the lexicon, and held against eleven pictures
BYTES_OF_A_PIXEL, BYTES_OF_TEXT = 1.5, 25_000  # a picture as PNG inside a page; both pages without pictures


def forecast(outlook: Outlook) -> Forecast:
    """Captions are read and counted; pictures go into the page and the sheet, which stand in the run a second time."""
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
