"""Rating sheet: one HTML file in which an expert judges captions, without seeing the results of the audit."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from vapray.caption_audit.ratings import VERDICTS
from vapray.report.page import page
from vapray.report.records import Image

__all__ = ["SHEET_SIDE", "SheetCaption", "render_rating_sheet"]

SHEET_SIDE = 256
"""Side of an image on the sheet, in pixels."""


@dataclass(frozen=True)
class SheetCaption:
    """One caption to rate.

    Attributes:
        image_id: Key of its image.
        caption_key: Key of the caption, which changes with the caption.
        image: Image, RGB uint8 [S, S, 3].
        caption: Caption, as the generator receives it.
        attributes: Attributes that it mentions.
    """

    image_id: str
    caption_key: str
    image: Image
    caption: str
    attributes: tuple[str, ...]


def render_rating_sheet(captions: Sequence[SheetCaption], run: str) -> str:
    """Render the page; it stores ratings in the browser and saves them as a file for ``audit.ratings``.

    Args:
        captions: Captions, in the order of rating.
        run: Identifier of the run; the browser stores sheets of different runs separately.
    """
    script = (resources.files("vapray.report") / "template" / "rating_sheet.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return page(
        "rating_sheet.html.jinja", captions=captions, run=run, verdicts=VERDICTS, script=script, script_sha256=digest
    )
