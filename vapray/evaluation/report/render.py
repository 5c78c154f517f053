"""``ReportData`` to one HTML page without anything outside it."""

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from vapray.evaluation.metrics import Metrics
from vapray.evaluation.report import curves, gauge, verdict, wording
from vapray.evaluation.report.cautions import cautions
from vapray.evaluation.report.content import Image, ReportData
from vapray.evaluation.report.explained import explained_numbers
from vapray.evaluation.report.pictures import data_uri

__all__ = ["page", "render_report", "sides"]

LARGE, SMALL = 160, 96
"""Pixels of the page that a picture is brought near to, in whole multiples of its own."""


def render_report(report: ReportData) -> str:
    """The page ``index.html``: style and pictures inside, no scripts, every text escaped.

    Captions are data: whatever stands in them is shown and never interpreted.

    Raises:
        DataError: a picture is not uint8 [H, W, 3].
    """
    metrics = report.metrics
    charts = [curves.line_chart(curve) for curve in report.curves]
    return page(
        "index.html.jinja",
        report=report,
        metrics=metrics,
        headline=verdict.headline(metrics),
        figures=verdict.key_figures(metrics, report.adherence, len(report.classes)),
        cautions=cautions(report),
        numbers=explained_numbers(metrics),
        adherence=report.adherence,
        lines=[chart for chart in charts if chart is not None],
        chart=curves,
        provenance_rows=_provenance_rows(metrics, report),
        sides=sides(_pictures(report)),
    )


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


def _pictures(report: ReportData) -> list[Image]:
    return [one for group in report.examples for one in (*group.real, *(made.image for made in group.generated))]


def _provenance_rows(metrics: Metrics, report: ReportData) -> list[tuple[str, str]]:
    p = metrics.provenance
    return [
        ("Generated pictures", f"{wording.number(metrics.n_generated)}, labels: {p.label_prior}"),
        ("Features", f"{p.extractor}, {p.extractor_width} numbers per picture, seen at {p.resize} pixels"),
        ("Extractor sha256", p.extractor_sha256),
        ("Classifier", p.classifier),
        ("Captions", p.captioner),
        ("Preparation", p.preparation),
        ("Guidance", f"{p.guidance_scale:g}, as {p.guidance_convention}"),
        ("Sampling", f"{p.num_inference_steps} network evaluations, {_weights(p.ema)}, seed {p.seed}"),
        ("Checkpoint sha256", p.checkpoint_sha256 or wording.ABSENT),
        ("Versions", ", ".join(f"{name} {version}" for name, version in report.versions.items()) or wording.ABSENT),
    ]


def _weights(ema: bool) -> str:
    return "averaged (EMA) weights" if ema else "raw weights"
