"""Laws of the report: self-contained, escaped, readable without seeing, and honest about what is missing."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from vapray.errors import DataError
from vapray.evaluation.adherence import Adherence
from vapray.evaluation.intervals import Interval
from vapray.evaluation.metrics import Metrics
from vapray.evaluation.report.charts import distance_ladder, line_chart
from vapray.evaluation.report.content import Curve, ReportData
from vapray.evaluation.report.pictures import data_uri
from vapray.evaluation.report.render import render_report
from vapray.evaluation.report.wording import adherence_finding, duration, fid_finding, number

VOID = {"meta", "img", "line", "polygon", "polyline", "br"}
OUTSIDE = re.compile(r"""(?:src|href|srcset)\s*=\s*["'](?!data:)|url\(|@import|https?://""")


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
    assert not outline.named("script", "b")
    for text in (
        "<script>alert('x')</script>",
        "{{ 7 * 7 }}",
        "<b>& more</b>",
        "</dd> a spot",
        "# <not a tag>",
    ):
        assert text in outline.text


def test_headings_descend_pictures_have_texts_and_tables_captions_and_scopes(report: ReportData) -> None:
    outline = Outline(render_report(report))
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1 == levels[0]
    assert all(deeper - level <= 1 for level, deeper in pairwise(levels))
    assert len(outline.named("img")) == 4
    assert all(image["alt"] for image in outline.named("img"))
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in outline.named("svg"))
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
        "61 %",
        "39 %",
        "74 %",
        "2.71",
    ):
        assert shown in text
    for shown in (
        "random convolutions (no semantics)",
        "9f2c" * 16,
        "c + s (c - u)",
        "50 network evaluations",
    ):
        assert shown in text
    for shown in ("1,200", "500", "80 generated images are fewer", "2 min 2 s", "1 h 10 min", "76,800"):
        assert shown in text


def test_pictures_arrive_unchanged(report: ReportData) -> None:
    source = Outline(render_report(report)).named("img")[0]["src"] or ""
    decoded = Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,"))))
    np.testing.assert_array_equal(np.asarray(decoded), report.examples[0].real[0])


def test_a_run_that_measured_almost_nothing_still_has_a_page(report: ReportData, metrics: Metrics) -> None:
    nan = float("nan")
    bare = replace(metrics, fid=nan, fid_untrained=nan, fid_class_mean=nan, kid=nan, stages={}, warnings=())
    pictureless = replace(report, classes=(), examples=(), curves=(), caption_examples=())
    page = render_report(replace(pictureless, metrics=bare, adherence=None))
    outline = Outline(page)
    assert outline.mistakes == []
    assert outline.open == []
    assert "nan" not in outline.text.lower()
    assert not outline.named("svg")


def test_a_generator_below_its_floor_is_said_to_be(metrics: Metrics) -> None:
    assert "not closer" not in fid_finding(metrics)
    worse = fid_finding(replace(metrics, fid=100.0))
    assert "closer to the real ones than the untrained network" in worse
    assert "not closer than class means with noise" in worse


def test_adherence_that_may_be_chance_is_said_to_be(adherence: Adherence) -> None:
    assert "not clearly" not in adherence_finding(adherence.relative, adherence.relative_interval)
    assert "not clearly above chance" in adherence_finding(0.1, Interval(-0.1, 0.3))
    assert "cannot say" in adherence_finding(float("nan"), None)


def test_ladders_keep_order_and_turn_logarithmic_only_over_wide_spans() -> None:
    wide = distance_ladder([("a", 1.0, "real", None), ("b", 10.0, "made", None), ("c", 400.0, "floor", None)])
    near = distance_ladder([("a", 1.0, "real", None), ("b", 3.0, "made", Interval(2.5, 3.5))])
    assert wide is not None
    assert near is not None
    assert wide.logarithmic
    assert not near.logarithmic
    assert [mark.position for mark in wide.marks] == sorted(mark.position for mark in wide.marks)
    assert near.marks[0].position == pytest.approx(near.marks[1].position / 3, abs=0.01)
    assert near.marks[1].low < near.marks[1].position < near.marks[1].high <= 100
    assert distance_ladder([("a", 1.0, "real", None), ("b", float("nan"), "made", None)]) is None


def test_a_zero_distance_is_drawn_on_a_plain_track() -> None:
    ladder = distance_ladder([("a", 0.0, "real", None), ("b", 9.0, "made", None)])
    assert ladder is not None
    assert not ladder.logarithmic
    assert ladder.marks[0].position == 0.0


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
