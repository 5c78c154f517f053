"""Renderer of self-contained HTML pages: reports, comparisons, audits and experiments."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from vapray.errors import DataError
from vapray.report import gauge, number_format

__all__ = ["Image", "data_uri", "page", "sides"]

Image = NDArray[np.uint8]
"""RGB image, uint8 [H, W, 3]; with opacity [H, W, 4]."""
LARGE, SMALL = 160, 96
"""Target side of images on the page, in pixels; reached approximately by integer scaling."""


def page(template: str, **content: Any) -> str:
    """Render a template of this package; all text is escaped."""
    environment = Environment(
        loader=PackageLoader("vapray.report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words = (
        number_format.number,
        number_format.percent,
        number_format.duration,
        number_format.interval_text,
        number_format.percent_interval,
    )
    filters = {word.__name__: word for word in words}
    environment.filters.update(filters, picture=data_uri, share_place=gauge.share_place)
    return environment.get_template(template).render(**content)


def sides(images: Sequence[Image]) -> dict[str, int]:
    """Sides of large and small images on the page, in pixels; integer multiples keep pixels sharp."""
    width = int(images[0].shape[1]) if images else LARGE
    return {name: width * max(1, round(target / width)) for name, target in (("side", LARGE), ("small", SMALL))}


def data_uri(image: Image) -> str:
    """Encode an image uint8 [H, W, 3], or with opacity [H, W, 4], as a lossless PNG data URI.

    Raises:
        DataError: type or shape differ.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] not in (3, 4):
        raise DataError(f"report image: expected uint8 [H, W, 3 or 4], got {image.dtype} {list(image.shape)}")
    encoded = io.BytesIO()
    PIL.Image.fromarray(image).save(encoded, "PNG")
    return "data:image/png;base64," + base64.b64encode(encoded.getvalue()).decode("ascii")
