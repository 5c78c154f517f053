"""The rating sheet: one HTML file on which an expert judges captions, without seeing what the audit thinks."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from vapray.evaluation.audit.ratings import VERDICTS
from vapray.evaluation.report.content import Image
from vapray.evaluation.report.page import page

__all__ = ["SHEET_SIDE", "SheetCaption", "render_rating_sheet"]

SHEET_SIDE = 256
"""Pixels of a picture on the sheet."""


@dataclass(frozen=True)
class SheetCaption:
    """One caption to rate.

    Attributes:
        image_id: of its picture.
        caption_key: of the caption; another one has another key.
        image: RGB uint8 [S, S, 3].
        caption: as the generator gets it.
        attributes: that it states something of.
    """

    image_id: str
    caption_key: str
    image: Image
    caption: str
    attributes: tuple[str, ...]


def render_rating_sheet(captions: Sequence[SheetCaption], run: str) -> str:
    """The page; it keeps what was rated in the browser and saves it as the file that ``audit.ratings`` reads.

    Args:
        captions: in the order in which they are rated.
        run: whose sheet it is; sheets of different runs are kept apart.
    """
    script = (resources.files("vapray.evaluation.report") / "template" / "rating_sheet.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return page(
        "rating_sheet.html.jinja", captions=captions, run=run, verdicts=VERDICTS, script=script, script_sha256=digest
    )
