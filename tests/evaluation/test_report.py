"""Laws of the report's page: self-contained, escaped, readable without seeing, whole without numbers."""

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
from vapray.evaluation.metrics import Metrics
from vapray.evaluation.report.content import ReportData
from vapray.evaluation.report.render import render_report
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
    assert "Caption adherence not measured" in page
    judged = replace(bare, attribute_judge={"accuracy": 0.9})
    assert "Caption adherence not measured" not in render_report(replace(pictureless, metrics=judged, adherence=None))
    outline = Outline(page)
    assert outline.mistakes == []
    assert outline.open == []
    assert not re.search(r"\bnan\b", outline.text, re.IGNORECASE)
    assert not [svg for svg in outline.named("svg") if svg.get("role") == "img"]


def test_a_picture_that_is_not_rgb_bytes_is_refused() -> None:
    with pytest.raises(DataError, match="uint8"):
        data_uri(np.zeros((4, 4), np.uint8))


def test_the_dataset_is_shown_with_every_file_that_is_left_out(report: ReportData) -> None:
    page = render_report(report)
    text = " ".join(Outline(page[page.index('id="dataset"') : page.index('id="provenance"')]).text.split())
    assert "Splits by name: <Test> is test. Images by class and split, in 1,480 groups" in text
    assert "NV1,1403001,440 VASC6040100" in text
    assert "read are 1,540 of images and 1 of tables FilesReasonFirst 2hidden<i>.DS_Store</i>" in text
    assert 'id="dataset"' not in render_report(replace(report, inventory=None, dataset_notes=()))
