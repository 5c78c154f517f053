"""The page of a trace: self-contained, escaped, and readable on a phone."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import ray
from playwright.sync_api import expect
from typer.testing import CliRunner

from tests.browser import open_page
from tests.evaluation.phone import overflow_at_phone_width
from tests.trace.conftest import SAMPLE
from vapray.cli.app import app
from vapray.trace import Trace, trace_image
from vapray.trace.missing import Missing
from vapray.trace.page import render_trace
from vapray.trace.statements import checked_caption
from vapray.trace.traced_run import TracedRun

HOSTILE = "an oval <script>alert('x')</script> lesion, {{ 7 * 7 }} & \"quoted\""


@pytest.fixture(scope="module")
def page(traced: Trace) -> str:
    return render_trace(traced)


def test_the_page_needs_nothing_from_outside(page: str) -> None:
    assert "<script" not in page
    assert not any(outside in page for outside in ("http://", "https://", "url(", "@import"))
    assert [int(number) for number in re.findall(r'<span class="no">(\d)</span>', page)] == list(range(1, 10))


def test_text_of_tables_is_escaped(root: str, traced: Trace) -> None:
    run, sample = TracedRun(root), {**(traced.image.sample or {}), "caption": HOSTILE}
    image = replace(traced.image, id=HOSTILE, class_name=HOSTILE, sample=sample, caption=HOSTILE)
    page = render_trace(replace(traced, image=image, caption=checked_caption(run, image), root=HOSTILE))
    assert "<script" not in page and "&lt;script&gt;" in page and "{{ 7 * 7 }}" in page


def test_every_part_may_be_missing(traced: Trace) -> None:
    names = ("captioning", "caption", "bank", "attention", "denoising", "bypassed", "neighbours")
    bare = replace(traced, **{name: Missing(f"No {name}. Fix: `vapray run <{name}>`.") for name in names})
    page = render_trace(bare)
    assert all(f"No {name}. Fix: <code>vapray run &lt;{name}&gt;</code>." in page for name in names)
    unreadable = replace(traced.image, pixels=None, network_pixels=None)
    assert "cannot be read" in render_trace(replace(bare, image=unreadable, source_pixels=None))


def test_marks_of_statements_do_not_rest_on_colour_alone(page: str, traced: Trace, tmp_path: Path) -> None:
    file = tmp_path / "trace.html"
    file.write_text(page)
    with open_page(file.as_uri()) as shown:
        marks = shown.locator(".caption mark")
        expect(marks.first).to_contain_text(re.compile(r"[✓✗?]"))
        words = [(one.text_content() or "").rpartition(" (")[2] for one in marks.all()]
        assert set(words) <= {"consistent)", "contradicted)", "not checked)"} and words
        shown.get_by_role("link", name="Denoising").click()
        expect(shown.get_by_role("heading", name="Denoising")).to_be_in_viewport()
        assert shown.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        assert shown.evaluate("[...document.images].every(image => image.hasAttribute('alt'))")


def test_the_pages_fit_a_phone(traced: Trace, root: str, training_image: str, tmp_path: Path) -> None:
    real = trace_image(root, training_image)
    long = replace(traced, root="folder" * 20, image=replace(traced.image, id="image" * 20, class_name="class" * 20))
    for one in (long, real):
        assert overflow_at_phone_width(render_trace(one), tmp_path) == 0


def test_the_command_writes_the_page_and_starts_no_ray(root: str, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    done = CliRunner().invoke(app, ["trace", root, SAMPLE, "--html", str(file), "--seed", "7"])
    assert done.exit_code == 0, done.output
    assert str(file) in done.output and "with seed 7" in file.read_text()
    assert not ray.is_initialized()


def test_a_file_that_cannot_be_written_is_refused(root: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["trace", root, SAMPLE, "--html", str(tmp_path / "no" / "page.html")])
    assert done.exit_code == 2
