"""Laws of the report: self-contained, escaped, readable without seeing, and honest about what is missing."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.evaluation.phone import overflow_at_phone_width
from vapray.errors import DataError
from vapray.evaluation.adherence import Adherence
from vapray.evaluation.metrics import Metrics
from vapray.evaluation.report.caveats import caveats
from vapray.evaluation.report.content import ReportData
from vapray.evaluation.report.render import render_report
from vapray.evaluation.report.verdict import adherence_finding, fid_finding, headline, label_finding
from vapray.memorisation.copy_test import COPIES
from vapray.metrics.intervals import Interval
from vapray.report.curves import Curve, line_chart
from vapray.report.gauge import Entry, gauge
from vapray.report.number_format import duration, number
from vapray.report.page import data_uri, sides

VOID = {"meta", "img", "br"}
OUTSIDE = re.compile(r"""(?:src|href|srcset)\s*=\s*["'](?!data:|#|\.\./audit/index\.html)|url\(|@import|https?://""")


class Outline(HTMLParser):
    """Tags with attributes in order, the visible text, and tags left open or closed twice."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.mistakes: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.mistakes.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data if "style" not in self.open else ""

    def named(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]


def test_the_page_is_well_formed_and_needs_nothing_from_outside(report: ReportData) -> None:
    page = render_report(report)
    outline = Outline(page)
    assert outline.mistakes == []
    assert outline.open == []
    assert OUTSIDE.search(page) is None
    assert not outline.named("script", "link", "iframe", "object")


def test_texts_from_outside_are_shown_and_never_interpreted(report: ReportData) -> None:
    outline = Outline(render_report(report))
    assert not outline.named("script", "i")
    for text in (
        "<script>alert('x')</script>",
        "{{ 7 * 7 }}",
        "<b>& more</b>",
        "</dd> a spot",
        "# <not a tag>",
        "decoded <i>in full</i>",
    ):
        assert text in outline.text


def test_headings_descend_pictures_have_texts_and_tables_captions_and_scopes(report: ReportData) -> None:
    outline = Outline(render_report(report))
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1 == levels[0]
    assert all(deeper - level <= 1 for level, deeper in pairwise(levels))
    assert len(outline.named("img")) == 7
    assert all(image["alt"] for image in outline.named("img"))
    charts = [svg for svg in outline.named("svg") if svg.get("aria-hidden") != "true"]
    assert len(charts) == 6
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    assert len(outline.named("title")) - 1 == len(outline.named("desc")) == len(charts)
    assert len(outline.named("table")) == len(outline.named("caption")) >= 4
    assert all(cell.get("scope") in ("row", "col") for cell in outline.named("th"))


def test_every_contract_number_its_floors_and_the_warning_are_on_the_page(report: ReportData) -> None:
    text = Outline(render_report(report)).text
    assert text.count("Not for clinical use. Synthetic images.") >= 2
    for shown in (
        "14.8",
        "13.6 to 16.2",
        "0.0412",
        "413",
        "58.3",
        "1.92",
        "4.31",
        "61\N{NO-BREAK SPACE}%",
        "39\N{NO-BREAK SPACE}%",
        "74\N{NO-BREAK SPACE}%",
        "2.71",
        "0.731",
    ):
        assert shown in text
    for shown in (
        "random convolutions (no semantics)",
        "9f2c" * 16,
        "c + s (c - u)",
        "50 network evaluations",
    ):
        assert shown in text
    for shown in ("1,200", "500", "80 generated images are fewer", "2 min 2 s", "1 h 10 min", "76,800", "3.11.7"):
        assert shown in text


def test_pictures_arrive_unchanged(report: ReportData) -> None:
    source = Outline(render_report(report)).named("img")[0]["src"] or ""
    decoded = Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,"))))
    np.testing.assert_array_equal(np.asarray(decoded), report.examples[0].generated[0].source)


@pytest.mark.parametrize("width", [16, 32, 48, 64, 100, 256])
def test_a_pixel_is_shown_as_a_whole_square(width: int) -> None:
    shown = sides([np.zeros((width, width, 3), np.uint8)])
    assert shown["side"] % width == shown["small"] % width == 0
    assert shown["small"] <= shown["side"] <= 256


def test_no_page_scrolls_sideways_on_a_phone(report: ReportData, tmp_path: Path) -> None:
    long = replace(report.caption_examples[0], caption="pigmented" * 40)
    worst = replace(report, title="Dermoscopy" * 12, caption_examples=[long])
    assert overflow_at_phone_width(render_report(worst), tmp_path) == 0
    assert overflow_at_phone_width("<body style='margin:0'><p style='width:500px'>wide", tmp_path) == 110


def test_a_run_that_measured_almost_nothing_still_has_a_page(report: ReportData, metrics: Metrics) -> None:
    nan = float("nan")
    bare = replace(metrics, fid=nan, fid_untrained=nan, fid_class_mean=nan, kid=nan, stages={}, warnings=())
    bare = replace(bare, label_accuracy=nan, inception_score=nan, precision=nan, recall=nan, further={}, intervals={})
    pictureless = replace(
        report,
        classes=(),
        examples=(),
        curves=(),
        health=(),
        caption_examples=(),
        neighbours={},
        rejects=(),
        versions={},
        splits={},
    )
    page = render_report(replace(pictureless, metrics=bare, adherence=None))
    outline = Outline(page)
    assert outline.mistakes == []
    assert outline.open == []
    assert not re.search(r"\bnan\b", outline.text, re.IGNORECASE)
    assert not [svg for svg in outline.named("svg") if svg.get("role") == "img"]


def test_a_generator_below_its_floor_is_said_to_be(metrics: Metrics) -> None:
    assert "Not closer" not in fid_finding(metrics)
    assert "Better than simple baselines" in headline(metrics)
    worse = replace(metrics, fid=100.0)
    assert "Closer to real images than the untrained network" in fid_finding(worse)
    assert "Not closer to real images than class means with noise" in fid_finding(worse)
    assert headline(worse).startswith("No closer to real images than a simple baseline")


def test_the_headline_does_not_praise_captions_that_may_be_ignored(metrics: Metrics) -> None:
    further = {"caption_adherence_relative": 0.2}
    said = [
        headline(replace(metrics, further=further, intervals={"caption_adherence_relative": Interval(low, 0.3)}))
        for low in (0.1, -0.1)
    ]
    assert "adherence is 20" in said[0]
    assert "not clearly followed" in said[1]


def test_labels_that_beat_real_pictures_are_called_typical_not_better(metrics: Metrics) -> None:
    assert "more typical" in label_finding(replace(metrics, further={"label_accuracy_real": 0.6}))
    assert "more typical" not in label_finding(replace(metrics, further={"label_accuracy_real": 0.9}))


def test_a_generator_beyond_its_ceilings_is_under_suspicion(report: ReportData) -> None:
    suspicious = {"Copies of training images", "FID better than real images"}
    assert not suspicious & {one.about for one in caveats(report)}
    further = {"fid_at_held_out_count": 1.0, "label_accuracy_real": 0.4}
    copied = replace(
        report,
        metrics=replace(report.metrics, further=further, caption_adherence=0.99),
        memorisation=replace(report.memorisation, verdict=COPIES),
    )
    found = {one.about for one in caveats(copied)}
    assert suspicious <= found
    assert {"Label accuracy above real images", "Caption adherence above real images"} <= found


def test_what_weakens_a_number_stands_before_it_is_quoted(report: ReportData) -> None:
    found = {one.about: one.text for one in caveats(report)}
    assert {"Few images", "Rejected rows", "Not Inception features"} <= found.keys()
    assert "VASC (1)" in found["Few generated images in a class"]
    rare = [replace(report.classes[1], n_reference=7, n_held_out=0, n_generated=0)]
    weak = {one.about: one.text for one in caveats(replace(report, classes=rare))}
    assert all("VASC" in weak[about] for about in ("Rare classes", "Classes not held out", "Classes never generated"))
    inception = replace(report.metrics, features="Inception-v3", warnings=())
    calm = {one.about for one in caveats(replace(report, metrics=inception, rejects=[]))}
    assert not {"Few images", "Rejected rows", "Not Inception features"} & calm


def test_adherence_that_may_be_chance_is_said_to_be(adherence: Adherence) -> None:
    assert "not clearly" not in adherence_finding(adherence.relative, adherence.relative_interval)
    assert "not clearly above chance" in adherence_finding(0.1, Interval(-0.1, 0.3))
    assert "cannot be measured" in adherence_finding(float("nan"), None)


def test_gauges_run_from_worst_to_best_and_turn_logarithmic_only_over_wide_spans() -> None:
    wide = gauge(
        "FID",
        [Entry("a", 1.0, "real"), Entry("b", 10.0, "made"), Entry("c", 400.0, "floor")],
        number,
        lower_is_better=True,
    )
    near = gauge("Share", [Entry("a", 0.2, "floor"), Entry("b", 0.6, "made", Interval(0.5, 0.7))], number)
    assert wide is not None
    assert near is not None
    assert wide.logarithmic
    assert not near.logarithmic
    assert [mark.name for mark in wide.marks] == ["c", "b", "a"]
    assert [mark.name for mark in near.marks] == ["a", "b"]
    assert all(0 <= mark.low <= mark.position <= mark.high <= 100 for mark in (*wide.marks, *near.marks))
    assert near.marks[1].low < near.marks[1].position
    assert gauge("FID", [Entry("a", 1.0, "real"), Entry("b", float("nan"), "made")], number) is None
    assert gauge("FID", [Entry("a", 1.0, "real"), Entry("b", 1.0, "made")], number) is None


def test_a_gauge_shows_nothing_outside_of_its_track() -> None:
    far = gauge("Share", [Entry("a", 0.0, "floor"), Entry("b", 0.9, "made", Interval(-3.0, 5.0))], number)
    assert far is not None
    assert (far.marks[1].low, far.marks[1].high) == (0.0, 100.0)


def test_a_share_is_drawn_on_the_whole_scale() -> None:
    chart = line_chart(Curve("Usage", "", [0, 1, 2], [0.999, 0.998, 0.999], scale=(0.0, 1.0)))
    assert (chart.y_ticks[0][1], chart.y_ticks[-1][1]) == ("0", "1")
    heights = [float(point.split(",")[1]) for point in chart.line.split()]
    assert max(heights) - min(heights) < 1


def test_a_curve_is_drawn_left_to_right_and_gaps_are_left_out() -> None:
    values = [float("nan") if i == 3 else 5.0 - i * 0.01 for i in range(400)]
    chart = line_chart(Curve("Loss", "", range(400), values))
    assert chart is not None
    points = np.array([point.split(",") for point in chart.line.split()], float)
    assert len(points) == 120
    assert (np.diff(points[:, 0]) > 0).all()
    assert (np.diff(points[:, 1]) > 0).all()
    assert line_chart(Curve("Loss", "", [1], [2.0])) is None
    assert line_chart(Curve("Loss", "", [1, 2], [2.0, 2.0])) is not None


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (14.83, "14.8"), (1234.5, "1,234"), (0.04123, "0.0412"), (3e-6, "3.0e-06"), (7, "7")],
)
def test_numbers_have_three_digits(value: float, shown: str) -> None:
    assert number(value) == shown


def test_durations_are_rounded_into_their_unit() -> None:
    assert [duration(s) for s in (3.14, 59.96, 119.7, 3600)] == [
        "3.1 s",
        "1 min 0 s",
        "2 min 0 s",
        "1 h 0 min",
    ]


def test_a_picture_that_is_not_rgb_bytes_is_refused() -> None:
    with pytest.raises(DataError, match="uint8"):
        data_uri(np.zeros((4, 4), np.uint8))
