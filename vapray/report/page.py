"""Renderer of self-contained HTML pages: reports, comparisons, audits and experiments."""

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from vapray.report import gauge, number_format
from vapray.report.data_uri import data_uri
from vapray.report.records import Image

__all__ = ["page", "sides"]

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
    words = (number_format.number, number_format.percent, number_format.duration, number_format.interval_text)
    filters = {word.__name__: word for word in words}
    environment.filters.update(filters, picture=data_uri, share_place=gauge.share_place)
    return environment.get_template(template).render(**content)


def sides(pictures: Sequence[Image]) -> dict[str, int]:
    """Sides of large and small images on the page, in pixels; integer multiples keep pixels sharp."""
    width = int(pictures[0].shape[1]) if pictures else LARGE
    return {name: width * max(1, round(wanted / width)) for name, wanted in (("side", LARGE), ("small", SMALL))}
