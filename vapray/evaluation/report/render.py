"""Renderer of the report page."""

from collections.abc import Sequence

from vapray.evaluation.group_report import OWNER
from vapray.evaluation.metric_specs import METRIC_SPECS
from vapray.evaluation.metrics import Metrics
from vapray.evaluation.report import verdict
from vapray.evaluation.report.caveats import caveats
from vapray.evaluation.report.content import ReportData
from vapray.evaluation.report.group_tables import group_tables
from vapray.report import curves
from vapray.report import number_format as wording
from vapray.report.page import Image, page, sides

__all__ = ["render_report"]


def render_report(report: ReportData) -> str:
    """Render ``index.html``: self-contained, without scripts; all text is escaped.

    Captions are data: they are shown and never interpreted.

    Raises:
        DataError: an image is not uint8 [H, W, 3].
    """
    metrics = report.metrics
    return page(
        "index.html.jinja",
        report=report,
        metrics=metrics,
        headline=verdict.headline(metrics),
        figures=verdict.key_figures(metrics, report.adherence, len(report.classes)),
        caveats=caveats(report),
        group_tables=group_tables(report.groups),
        group_owner=OWNER,
        specs=[spec for spec in METRIC_SPECS if metrics.value(spec.key) is not None],
        adherence=report.adherence,
        judge=report.judge,
        lines=_charts(report.curves),
        health=_charts(report.health),
        chart=curves,
        provenance_rows=_provenance_rows(metrics, report),
        sides=sides(_pictures(report)),
    )


def _charts(drawn: Sequence[curves.Curve]) -> list[curves.LineChart]:
    charts = (curves.line_chart(curve) for curve in drawn)
    return [chart for chart in charts if chart is not None]


def _pictures(report: ReportData) -> list[Image]:
    return [one for group in report.examples for one in (*group.real, *(made.image for made in group.generated))]


def _provenance_rows(metrics: Metrics, report: ReportData) -> list[tuple[str, str]]:
    p = metrics.provenance
    return [
        ("Generated images", f"{wording.number(metrics.n_generated)}, labels: {p.label_prior}"),
        ("Features", f"{p.extractor}, {p.extractor_width} features per image, resized to {p.resize} pixels"),
        ("Extractor sha256", p.extractor_sha256),
        ("Classifier", p.classifier),
        ("Inception Score of", p.inception_score_of or wording.ABSENT),
        ("Captions", p.captioner),
        ("Preparation", p.preparation),
        ("Autoencoder", p.autoencoder or wording.ABSENT),
        ("Guidance", f"{p.guidance_scale:g}, as {p.guidance_convention}"),
        ("Sampling", f"{p.num_inference_steps} network evaluations, {_weights(p.ema)}, seed {p.seed}"),
        ("Network", p.network or wording.ABSENT),
        ("Compute", _compute(metrics)),
        ("Checkpoint sha256", p.checkpoint_sha256 or wording.ABSENT),
        ("Versions", ", ".join(f"{name} {version}" for name, version in report.versions.items()) or wording.ABSENT),
    ]


def _weights(ema: bool) -> str:
    return "averaged (EMA) weights" if ema else "raw weights"


def _compute(metrics: Metrics) -> str:
    """Describe the compute; a backward pass counts as two forward passes."""
    p = metrics.provenance
    if not p.forward_flops or not p.training_images:
        return wording.ABSENT
    training = 3 * p.forward_flops * p.training_images
    return (
        f"{p.forward_flops / 1e9:.3g} GFLOP per network evaluation; training {training / 1e15:.3g} PFLOP "
        f"over {wording.number(p.training_images)} images"
    )
