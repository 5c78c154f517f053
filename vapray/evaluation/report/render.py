"""``ReportData`` to one HTML page without anything outside it."""

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from vapray.evaluation.adherence import Adherence
from vapray.evaluation.metrics import Metrics
from vapray.evaluation.report import charts, wording
from vapray.evaluation.report.content import ReportData
from vapray.evaluation.report.pictures import data_uri


def render_report(report: ReportData) -> str:
    """The page ``index.html``: style and pictures inside, no scripts, every text escaped.

    Captions are data: whatever stands in them is shown and never interpreted.

    Raises:
        DataError: a picture is not uint8 [H, W, 3].
    """
    environment = Environment(
        loader=PackageLoader("vapray.evaluation.report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words = (wording.number, wording.percent, wording.duration)
    environment.filters.update({word.__name__: word for word in words}, picture=data_uri)
    return environment.get_template("index.html.jinja").render(**_content(report))


def _content(report: ReportData) -> dict[str, Any]:
    metrics, adherence = report.metrics, report.adherence
    lines = [charts.line_chart(curve) for curve in report.curves]
    return {
        "report": report,
        "metrics": metrics,
        "provenance": metrics.provenance,
        "headlines": wording.headlines(metrics),
        "fid_ladder": charts.distance_ladder(_fid_rows(metrics)),
        "fid_finding": wording.fid_finding(metrics),
        "adherence": adherence,
        "adherence_ladder": _adherence_ladder(adherence),
        "adherence_finding": _adherence_finding(adherence),
        "lines": [line for line in lines if line is not None],
        "chart": charts,
        "provenance_rows": _provenance_rows(metrics),
    }


def _fid_rows(metrics: Metrics) -> list[charts.Row]:
    rows: list[charts.Row] = [
        ("Real, held out", metrics.fid_real_split, "real", None),
        ("Generated", metrics.fid, "made", metrics.intervals.get("fid")),
        ("Class means with noise", metrics.fid_class_mean, "floor", None),
        ("Untrained network", metrics.fid_untrained, "floor", None),
    ]
    reconstructed = metrics.further.get("fid_real_reconstructed")
    if reconstructed is not None:
        rows.insert(1, ("Real, through the autoencoder", reconstructed, "real", None))
    return rows


def _adherence_ladder(adherence: Adherence | None) -> charts.Ladder | None:
    if adherence is None:
        return None
    rows: Sequence[charts.Row] = [
        ("Captions shuffled within the class", adherence.shuffled, "floor", None),
        ("Generated, own caption", adherence.adherence, "made", adherence.adherence_interval),
        ("Real held-out, own caption", adherence.ceiling, "real", None),
    ]
    return charts.share_ladder(rows)


def _adherence_finding(adherence: Adherence | None) -> str:
    if adherence is None:
        return ""
    return wording.adherence_finding(adherence.relative, adherence.relative_interval)


def _provenance_rows(metrics: Metrics) -> list[tuple[str, str]]:
    p = metrics.provenance
    return [
        ("Real pictures", wording.number(metrics.n_real)),
        ("Generated pictures", f"{wording.number(metrics.n_generated)}, labels: {p.label_prior}"),
        ("Features", f"{p.extractor}, {p.extractor_width} numbers per picture, seen at {p.resize} pixels"),
        ("Extractor sha256", p.extractor_sha256),
        ("Classifier", p.classifier),
        ("Captions", p.captioner),
        ("Preparation", p.preparation),
        ("Guidance", f"{p.guidance_scale:g}, as {p.guidance_convention}"),
        ("Sampling", f"{p.num_inference_steps} network evaluations, {_weights(p.ema)}, seed {p.seed}"),
        ("Checkpoint sha256", p.checkpoint_sha256 or wording.ABSENT),
    ]


def _weights(ema: bool) -> str:
    return "averaged (EMA) weights" if ema else "raw weights"
