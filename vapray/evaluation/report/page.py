"""Templates to pages without anything outside them; reports, comparisons and audits are laid out here."""

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from vapray.evaluation.report import gauge, wording
from vapray.evaluation.report.content import Image
from vapray.evaluation.report.pictures import data_uri

__all__ = ["page", "sides"]

LARGE, SMALL = 160, 96
"""Pixels of the page that a picture is brought near to, in whole multiples of its own."""


def page(template: str, **content: Any) -> str:
    """A template of this folder with its content in it, every text escaped."""
    environment = Environment(
        loader=PackageLoader("vapray.evaluation.report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words = (wording.number, wording.percent, wording.duration)
    filters = {word.__name__: word for word in words}
    environment.filters.update(filters, picture=data_uri, share_place=gauge.share_place)
    return environment.get_template(template).render(**content)


def sides(pictures: Sequence[Image]) -> dict[str, int]:
    """Pixels of the page across large and small pictures: whole multiples, so that each pixel is a crisp square."""
    width = int(pictures[0].shape[1]) if pictures else LARGE
    return {name: width * max(1, round(wanted / width)) for name, wanted in (("side", LARGE), ("small", SMALL))}
